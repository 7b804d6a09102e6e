"""A session's money at the functions: slices, budgets, and one capture whoever ends it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from marketplace import money as amounts
from marketplace.access import budget as budgets
from marketplace.access.models import BudgetAlert, Spending
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.errors import CostAboveLimit, InvalidInput
from marketplace.fleet.models import Worker
from marketplace.ledger.models import Account, Hold, HoldPart, Transfer
from marketplace.ledger.transfer import grant_credit
from marketplace.metering.publish import publish
from marketplace.metering.sale import load_offers
from marketplace.runs import claim, sessions, sweep
from marketplace.runs.connections import rows
from marketplace.runs.models import Run, Session
from marketplace.runs.settle import Case, item, settling
from marketplace.runs.submit import ADMIT_SQL, Admission, to_item
from tests.conftest import Person, fund, join
from tests.journeys.books import FUNDS, charge, money
from tests.marketplace.runs.conftest import WORKER_TOKEN
from tests.marketplace.web import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("glyph")]
PRICE = 100_000  # nano-dollars a second


def prepared(person: Person, **more: Any) -> Admission:
    return sessions.prepare_session(
        offer=load_offers()["kinora/glyph"], team_id=person.team.id, key_id=person.key.id, **more
    )


def admitted(person: Person, seconds: int = 30, **more: Any) -> UUID:
    """A session that waits, with a first slice of so many seconds."""
    admission = replace(prepared(person, **more), slice=seconds * PRICE)
    with connection.cursor() as cursor:
        cursor.execute(ADMIT_SQL, [orjson.dumps([to_item(admission)]).decode()])
        _, code, run_id, *_ = cursor.fetchone()
    assert code == "ok"
    return UUID(str(run_id))


def opened(person: Person, seconds: int = 30, **more: Any) -> UUID:
    """A session that gpu-1 serves."""
    run = admitted(person, seconds, **more)
    rows(claim.claim(queue="cpu.std", worker="gpu-1", warm=["glyph"], limit=1))
    assert rows(sessions.opened(run=run, attempt=1, worker="gpu-1"))
    return run


def past(run: UUID, *, opened: float, seen: float, reported: float | None = None) -> None:
    """As if it had begun and been heard so many seconds ago, and its lease had lapsed.

    reported: seconds by its worker's clock; as many as by ours unless said.
    """
    now = timezone.now()
    Session.objects.filter(run=run).update(
        opened_at=now - timedelta(seconds=opened),
        seen_at=now - timedelta(seconds=seen),
        reported=opened - seen if reported is None else reported,
        frames=4,
    )
    Run.objects.filter(id=run).update(lease_until=now - timedelta(seconds=1))


def extend(run: UUID, seconds: float) -> tuple[str, int]:
    [found] = rows(sessions.extended(run=run, attempt=1, target=round(seconds * PRICE)))
    return found["code"], found["held"]


def close(run: UUID, age: float = 0, reason: str = "left") -> None:
    rows(sessions.closed(run=run, attempt=1, age=age, reason=reason, reported=Decimal(0), frames=4))


def settle(run: UUID) -> str:
    [known] = rows(claim.cases([run]))
    case = Case.from_row(known, 1)
    return str(rows(settling([item(case, sessions.ended(case))]))[0]["code"])


# ── slices ────────────────────────────────────────────────────────────────────────────────────


def test_a_hold_grows_to_its_target_and_never_beyond_its_quote(ada: Person) -> None:
    run = opened(ada, max_cost=amounts.parse("0.005"))
    assert extend(run, 45) == ("ok", 45 * PRICE)
    assert extend(run, 45) == ("ok", 45 * PRICE)  # said again after a lost answer
    assert extend(run, 20) == ("ok", 45 * PRICE)
    assert extend(run, 90) == ("ok", 50 * PRICE)
    assert money(ada) == (FUNDS, 50 * PRICE)
    close(run)
    settle(run)
    assert money(ada) == (FUNDS - charge(run)[1], 0)


def test_a_hold_grows_by_what_is_left_where_that_is_less(glyph: Release) -> None:
    eve = join("eve", team=Team.objects.create(name="Eve's"), role="owner")
    fund(eve.team, "0.004", reference="tests:eve")
    run = opened(eve)
    assert extend(run, 50) == ("insufficient_balance", 40 * PRICE)
    assert extend(run, 60) == ("insufficient_balance", 40 * PRICE)
    assert money(eve) == (4_000_000, 4_000_000)


def test_a_hold_grows_over_several_credits_in_their_order(ada: Person) -> None:
    scoped = grant_credit(
        team=ada.team,
        amount=35 * PRICE,
        name="For glyph",
        expires_at=timezone.now() + timedelta(days=1),
        reference="tests:scoped",
        note="tests",
        scope=["kinora/glyph"],
    )
    run = opened(ada)
    extend(run, 40)
    parts = HoldPart.objects.filter(hold_id=run).order_by("position")
    assert [(part.account.name, part.amount) for part in parts] == [
        ("For glyph", 35 * PRICE),
        ("Test credit", 5 * PRICE),
    ]
    assert scoped
    past(run, opened=37, seen=1)
    close(run)
    settle(run)
    state, captured = charge(run)
    assert (state, captured > 36 * PRICE) == ("captured", True)
    assert Account.objects.get(name="For glyph").posted == 0


def test_a_hold_grows_within_the_budgets_it_counts_in(ada: Person) -> None:
    budgets.create(team=ada.team, data={"kind": "team", "limit": "0.0042"}, created_by=ada.user)
    run = opened(ada)
    assert extend(run, 40) == ("ok", 40 * PRICE)
    assert extend(run, 60) == ("budget_exceeded", 42 * PRICE)
    spending = Spending.objects.get()
    assert (spending.spent, spending.held) == (0, 42 * PRICE)
    assert BudgetAlert.objects.filter(cause="refused").count() == 1
    past(run, opened=100, seen=0)
    close(run)
    settle(run)
    assert charge(run) == ("captured", 42 * PRICE)
    spending.refresh_from_db()
    assert (spending.spent, spending.held) == (42 * PRICE, 0)


def test_nothing_grows_that_has_ended(ada: Person) -> None:
    run = opened(ada)
    close(run)
    settle(run)
    assert extend(run, 60) == ("ended", 0)
    assert money(ada)[1] == 0


# ── one capture ───────────────────────────────────────────────────────────────────────────────


def test_a_session_whose_web_process_was_killed_is_swept_and_paid_as_witnessed(
    ada: Person,
) -> None:
    run = opened(ada)
    past(run, opened=20, seen=17.5)
    assert sweep.lapsed_leases() == 1
    assert charge(run) == ("captured", round(2.5 * PRICE))
    assert sweep.lapsed_leases() == 0
    assert Transfer.objects.filter(run_id=run, kind="charge").count() == 1
    found = Run.objects.get(id=run)
    assert (found.state, found.outcome) == ("succeeded", "partial")
    assert found.error == {
        "code": "worker_lost",
        "message": "Our worker was lost. You pay for the 2.500 s until then.",
    }


def test_what_was_closed_and_never_settled_is_swept_as_it_was_closed(ada: Person) -> None:
    run = opened(ada)
    past(run, opened=20, seen=1)
    close(run, age=12, reason="insufficient_balance")
    sweep.lapsed_leases()
    state, captured = charge(run)
    assert (state, round(captured / PRICE, 1)) == ("captured", 8.0)
    assert Run.objects.get(id=run).outcome == "succeeded"


def test_it_is_settled_once_whoever_comes_first(ada: Person) -> None:
    run = opened(ada)
    past(run, opened=20, seen=5)
    close(run, age=5)
    assert settle(run) == "settled"
    first = charge(run)
    assert round(first[1] / PRICE, 1) == 15.0
    assert settle(run) == "replayed"
    close(run, age=0)
    assert sweep.lapsed_leases() == 0
    assert charge(run) == first
    assert Transfer.objects.filter(run_id=run).count() == 2  # the charge, and what it cost us


def test_no_session_costs_more_than_what_was_held(ada: Person) -> None:
    run = opened(ada, seconds=5)
    past(run, opened=500, seen=0)
    close(run)
    settle(run)
    assert charge(run) == ("captured", 5 * PRICE)


def test_a_worker_that_says_it_served_for_less_is_believed(ada: Person) -> None:
    run = opened(ada)
    past(run, opened=20, seen=0, reported=12.5)
    close(run)
    settle(run)
    assert charge(run) == ("captured", round(12.5 * PRICE))


def test_another_worker_cannot_open_it(ada: Person) -> None:
    run = admitted(ada)
    assert rows(sessions.opened(run=run, attempt=1, worker="gpu-1")) == []
    rows(claim.claim(queue="cpu.std", worker="gpu-1", warm=["glyph"], limit=1))
    for attempt, worker in ((1, "gpu-2"), (2, "gpu-1")):
        assert rows(sessions.opened(run=run, attempt=attempt, worker=worker)) == []
    assert not Session.objects.exists()


@pytest.mark.parametrize("state", ["lost", "cancelled", "succeeded", "failed"])
def test_whatever_a_worker_says_of_its_end_only_what_was_witnessed_counts(
    web: Client, ada: Person, gpu: Worker, state: str
) -> None:
    run = opened(ada)
    past(run, opened=20, seen=10)
    Run.objects.filter(id=run).update(lease_until=F("created_at") + timedelta(hours=1))
    word = {"run": Run.objects.get(id=run).public_id, "attempt": 1, "state": state, "outputs": []}
    usage = {"usage": {"gpu_seconds": 999}, "error": {"code": "x", "retry": True}}
    assert web.call("POST", "/fleet/v1/complete", word | usage, key=WORKER_TOKEN).status == 200
    assert charge(run) == ("captured", 10 * PRICE)


# ── prices ────────────────────────────────────────────────────────────────────────────────────


def test_a_session_lasts_as_long_as_its_cap_allows(ada: Person) -> None:
    whole = prepared(ada)
    assert (whole.inputs, whole.quoted) == ({"session_seconds": 600}, 600 * PRICE)
    capped = prepared(ada, max_cost=12_345_678)
    assert (capped.inputs, capped.quoted) == ({"session_seconds": 123.456}, 12_345_600)
    assert sessions.first_slices(capped) == [30 * PRICE, 5 * PRICE, PRICE]
    assert sessions.first_slices(prepared(ada, max_cost=2 * PRICE)) == [2 * PRICE, PRICE]
    with pytest.raises(CostAboveLimit):
        prepared(ada, max_cost=PRICE - 1)


def test_only_sessions_are_sold_by_their_seconds(glyph: Release, still: Release) -> None:
    seconds = [{"unit": "session_second", "unit_price": "0.01"}]
    with pytest.raises(InvalidInput, match="by the segment `session` only"):
        publish(release=still, lines=seconds)
    with pytest.raises(InvalidInput, match="counts session_second and nothing else"):
        publish(release=still, segment="session", lines=[{"unit": "image", "unit_price": "1"}])
    price = publish(release=still, segment="session", lines=seconds)
    assert price.policy["cancelled_after"] == "used"
    with pytest.raises(InvalidInput, match="higher"):
        publish(
            release=still,
            segment="session",
            lines=[{"unit": "session_second", "unit_price": "0.02"}],
        )


def test_sessions_are_held_for_by_the_price_of_sessions(ada: Person, glyph: Release) -> None:
    run = admitted(ada)
    hold, price = Hold.objects.get(run_id=run), glyph.prices.get(segment="session")
    assert (hold.price_id, hold.amount, hold.quoted) == (price.id, 30 * PRICE, 600 * PRICE)
    assert load_offers()["kinora/glyph"].for_team(ada.team.id).price.segment == "list"
