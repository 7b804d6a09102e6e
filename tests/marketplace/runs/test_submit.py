"""Admission on Django's own connection, and what makes it repeat safely."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.utils import timezone

from marketplace import errors
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Hold
from marketplace.ledger.transfer import grant_credit
from marketplace.metering.sale import load_offers
from marketplace.runs.models import Outbox, Run
from marketplace.runs.receipt import receipt
from marketplace.runs.submit import ADMIT_SQL, Admission, prepare, submit_now, to_item
from marketplace.webhooks.targets import target
from tests.conftest import Person

pytestmark = pytest.mark.django_db(transaction=True)  # the database's clock has to move on

PRICE = 2_000_000


def prepared(person: Person, **more: Any) -> Admission:
    inputs = {"prompt": "red heart"}
    known: dict[str, Any] = {
        "offer": load_offers()["rehearsal/still"],
        "body": {"model": "rehearsal/still", "inputs": inputs},
        "team_id": person.team.id,
        "key_id": person.key.id,
        "user_id": None,
        "idempotency_key": None,
        "quote": None,
        "max_cost": None,
    }
    return prepare(**known | more)


def admit(*several: Admission) -> list[tuple[str, Any]]:
    """code and run of each."""
    with connection.cursor() as cursor:
        cursor.execute(ADMIT_SQL, [orjson.dumps([to_item(one) for one in several]).decode()])
        return [(row[1], row[2]) for row in cursor.fetchall()]


def test_a_call_made_twice_admits_once(ada: Person, still: Release) -> None:
    wish = prepared(ada)

    assert admit(wish) == [("ok", wish.run_id)]
    assert admit(wish) == [("replayed", wish.run_id)]
    assert Run.objects.count() == Hold.objects.count() == 1
    assert balance(ada.team.id).held == PRICE


def test_one_call_answers_each_item_by_itself(ada: Person, cy: Person, still: Release) -> None:
    first = prepared(ada, idempotency_key="a")
    twin = prepared(ada, idempotency_key="a")
    other = prepared(ada, idempotency_key="a", body={"model": "x", "inputs": {"prompt": "tomato"}})
    cys = prepared(cy)
    type(cy.team).objects.filter(id=cy.team.id).update(status="locked")

    assert admit(first, twin, other, cys) == [
        ("ok", first.run_id),
        ("replayed", first.run_id),
        ("idempotency_conflict", first.run_id),
        ("team_locked", None),
    ]
    assert Run.objects.count() == 1
    assert balance(cy.team.id).held == 0


def test_a_retired_release_is_refused_in_the_commit(ada: Person, still: Release) -> None:
    wish = prepared(ada)
    Release.objects.update(retired_at=timezone.now() - timedelta(seconds=1))

    assert admit(wish) == [("release_retired", None)]
    assert not Run.objects.exists()


def test_a_page_submits_and_replays(ada: Person, still: Release) -> None:
    offer = load_offers()["rehearsal/still"]

    def submit(**inputs: Any) -> object:
        return submit_now(
            offer=offer,
            inputs={"prompt": "red heart", **inputs},
            team_id=ada.team.id,
            user_id=ada.user.id,
            idempotency_key="page-1",
        )

    assert submit() == submit()
    with pytest.raises(errors.IdempotencyConflict):
        submit(count=2)
    run = Run.objects.get()
    assert (run.user_id, run.key_id, run.state) == (ada.user.id, None, "queued")
    assert Outbox.objects.get().topic == "hint"


def test_a_page_without_money_is_told_what_is_missing(ada: Person, still: Release) -> None:
    wish = prepared(ada)
    type(ada.team.accounts.get()).objects.filter(team=ada.team).update(credit_limit=-4_999_000_000)

    with pytest.raises(errors.InsufficientBalance) as refused:
        submit_now(offer=wish.offer, inputs={"prompt": "a"}, team_id=ada.team.id)
    assert refused.value.facts["missing"]["nano"] == 1_000_000
    assert not Run.objects.exists()
    assert not Hold.objects.exists()


def test_a_run_keeps_the_webhooks_that_it_was_given(ada: Person, still: Release) -> None:
    hook = target(url="https://example.com/hook", events=["run.started", "run.finished"])
    wish = prepared(ada, webhooks=[hook])

    assert admit(wish, prepared(ada))[0] == ("ok", wish.run_id)
    assert Run.objects.get(id=wish.run_id).webhooks == [hook]
    assert Run.objects.exclude(id=wish.run_id).get().webhooks == []


def test_a_run_spends_the_credit_for_its_model_and_its_receipt_says_so(
    ada: Person, still: Release
) -> None:
    for name, scope in (("Other", ["rehearsal/clip"]), ("Launch", ["rehearsal/still"])):
        grant_credit(
            team=ada.team,
            amount=1_500_000,
            name=name,
            reference=name,
            expires_at=None,
            scope=scope,
            funder="rehearsal",
        )
    [(code, run)] = admit(prepared(ada))
    assert code == "ok"
    credits = receipt(run, ada.team.id)["credits"]
    assert [(c["name"], c["funder"], c["held"]["nano"]) for c in credits] == [
        ("Launch", "rehearsal", 1_500_000),
        ("Test credit", "kinora", 500_000),
    ]
