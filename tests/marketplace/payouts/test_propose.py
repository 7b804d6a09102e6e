"""A lab proposes, an admin answers, an instant publishes; customers have their notice."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.catalog import lab_keys
from marketplace.catalog.models import Lab, Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering.models import Price, Tariff
from marketplace.payouts.models import PriceProposal
from marketplace.payouts.propose import accept, propose, refuse
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/lab/proposals"
DEARER = [{"unit": "image", "unit_price": "0.003"}]
SOON, FAR = timezone.now() + timedelta(days=2), timezone.now() + timedelta(days=30)


@pytest.fixture
def books(still: Release) -> str:
    return lab_keys.create(lab=still.model.lab, name="books", role="finance")[1]


def wish(**more: Any) -> dict[str, Any]:
    return {"model": "rehearsal/still", "lines": DEARER, "effective_from": FAR.isoformat()} | more


def test_a_price_goes_from_a_wish_to_its_instant(
    web: Client, still: Release, rook: User, books: str
) -> None:
    made = web.call("POST", PATH, wish(note="new chips"), key=books)
    assert (made.status, made.json["state"], made.json["version"]) == (201, "proposed", None)
    assert Price.objects.count() == 1
    found = PriceProposal.objects.get()
    accept(proposal=found, admin=rook, answer="Agreed.")
    path = f"{PATH}/{made.json['id']}"
    told = web.get(path, key=books).json
    assert (told["state"], told["version"], told["answer"]) == ("accepted", 2, "Agreed.")
    announced = still.prices.get(version=2)
    assert (announced.state, announced.effective_from) == ("announced", FAR)
    PriceProposal.objects.update(effective_from=timezone.now())
    assert web.get(path, key=books).json["state"] == "published"
    assert web.get(PATH, key=books).json["data"][0]["id"] == made.json["id"]


def test_a_refusal_has_words(web: Client, still: Release, rook: User, books: str) -> None:
    made = web.call("POST", PATH, wish(), key=books).json
    found = PriceProposal.objects.get()
    with pytest.raises(InvalidInput) as refusal:
        refuse(proposal=found, admin=rook, answer=" ")
    assert refusal.value.param == "answer"
    refuse(proposal=found, admin=rook, answer="Too dear for what it is.")
    told = web.get(f"{PATH}/{made['id']}", key=books).json
    assert (told["state"], told["answer"]) == ("refused", "Too dear for what it is.")
    with pytest.raises(Conflict, match="refused already"):
        accept(proposal=found, admin=rook)
    assert Price.objects.count() == 1


def test_a_lab_takes_a_wish_back(web: Client, still: Release, books: str) -> None:
    made = web.call("POST", PATH, wish(), key=books).json
    again = web.call("POST", PATH, wish(), key=books)
    assert (again.status, again.error["code"]) == (409, "conflict")
    for _ in range(2):
        gone = web.call("DELETE", f"{PATH}/{made['id']}", key=books)
        assert (gone.status, gone.json["state"]) == (200, "withdrawn")
    assert web.call("POST", PATH, wish(), key=books).status == 201


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"lines": []}, "lines"), ({"lines": "0.1"}, "lines"), ({"lines": [{"unit": "no"}]}, "lines"),
    ({"kind": "gift"}, "kind"), ({"note": 5}, "note"), ({"policy": "x"}, "policy"),
    ({"policy": {"succeeded": "nothing"}}, "policy"),
    ({"effective_from": "soon"}, "effective_from"), ({"effective_from": 5}, "effective_from"),
    ({"effective_from": SOON.isoformat()}, "effective_from"),
    ({"effective_from": "2020-01-01T00:00:00Z"}, "effective_from"),
    ({"effective_from": "2020-01-01T00:00:00Z", "kind": "tariff"}, "effective_from"),
    ({"price": "1"}, "price"),
]  # fmt: skip


def test_what_publishing_would_refuse_is_refused_at_once(
    web: Client, still: Release, books: str
) -> None:
    before = (Price.objects.count(), Tariff.objects.count())
    for more, param in WRONG:
        answer = web.call("POST", PATH, wish(**more), key=books)
        assert (answer.status, (answer.error["param"] or "")[: len(param)]) == (422, param), more
    for model in ("rehearsal/none", "kinora/glyph", "still", 5, "rehearsal/still@1999-01-01"):
        answer = web.call("POST", PATH, wish(model=model), key=books)
        assert (answer.status, answer.error["param"]) == (404, "model"), model
    assert not PriceProposal.objects.exists()
    assert before == (Price.objects.count(), Tariff.objects.count())


def test_only_those_who_may_propose_do(web: Client, still: Release, books: str) -> None:
    web.call("POST", PATH, wish(), key=books)
    _, viewer = lab_keys.create(lab=still.model.lab, name="x", role="viewer")
    answer = web.call("POST", PATH, wish(), key=viewer)
    assert (answer.status, answer.error["right"]) == (403, "price")
    assert len(web.get(PATH, key=viewer).json["data"]) == 1


def test_notice_that_became_too_short_needs_a_later_instant(still: Release, rook: User) -> None:
    found = propose(release=still, kind="price", lines=DEARER, effective_from=FAR)
    PriceProposal.objects.update(effective_from=SOON)  # it lay about for long
    with pytest.raises(InvalidInput, match="days of notice"):
        accept(proposal=found, admin=rook)
    assert PriceProposal.objects.get().state == "proposed"
    done = accept(proposal=found, admin=rook, effective_from=FAR)
    assert done.price is not None
    assert done.price.effective_from == done.effective_from == FAR


def test_a_tariff_is_proposed_and_accepted_on_the_server(
    still: Release, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"unit": "image", "unit_price": "0.0013"}]
    made = propose(release=still, kind="tariff", lines=lines, effective_from=SOON)
    call_command("proposals")
    assert made.public_id in capsys.readouterr().out
    call_command("proposals", made.public_id, "--accept")
    assert still.tariffs.get(version=2).lines == lines
    assert PriceProposal.objects.get().state == "accepted"
