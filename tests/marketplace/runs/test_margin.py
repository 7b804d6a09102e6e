"""Each outcome's charge, what the lab charges us for it, and what is left: exact."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.ledger.models import Entry, Transfer
from marketplace.ledger.refund import refund
from marketplace.metering.outcomes import OUTCOMES
from marketplace.metering.tariff import publish_tariff
from marketplace.runs import sweep, uncosted
from marketplace.runs.margin import margin, margins
from marketplace.runs.models import Attempt, Decision, Run
from marketplace.runs.receipt import receipt
from marketplace.runs.settle import failed
from tests.conftest import PASSWORD, Person
from tests.journeys.books import delivered, drawn, settle
from tests.lab import Lab
from tests.marketplace import worker
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying

pytestmark = pytest.mark.django_db(transaction=True)

SECOND, COST = 10_000_000, 6_000_000  # what a second of clip costs the customer, and us
ENDS = {
    "succeeded": (delivered(5, reported=5), 5 * SECOND, 5 * COST),
    "partial": (delivered(3, reported=3), 3 * SECOND, 3 * COST),
    "invalid_input": (failed("invalid_input", "x", "x"), 0, 0),
    "refused_before": (failed("refused_before", "x", "x"), 0, 0),
    "refused_after": (failed("refused_after", "x", "x"), 0, 5 * COST),
    "supplier_error": (failed("supplier_error", "x", "x"), 0, 0),
    "our_error": (failed("our_error", "x", "x"), 0, 0),
    "cancelled_before": (failed("cancelled_before", "x", "x"), 0, 0),
    "cancelled_after": (failed("cancelled_after", "x", "x"), 0, 5 * COST),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_margin_of_each_outcome_is_known(ada: Person, clip: Release, outcome: str) -> None:
    end, charged, cost = ENDS[outcome]
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    assert settle(*worker.claim(), end) == "settled"
    assert closed(run_id)[1] == charged
    found = margin(run_id)
    assert found["outcome"] == outcome
    assert (found["charged"], found["cost"], found["margin"]) == (charged, cost, charged - cost)
    memo = Entry.objects.filter(transfer__kind="cost").values_list("account__name", "amount")
    books = {"lab_payable:rehearsal": cost, "cogs:rehearsal/clip": -cost} if cost else {}
    assert dict(memo) == books


def test_a_timeout_is_free_although_the_lab_bills_it(ada: Person, clip: Release, lab: Lab) -> None:
    Release.objects.filter(pk=clip.pk).update(timeout_seconds=1)
    with supplying():
        asked = {"seconds": 3, "fps": 8, "resolution": "180p", "latency_ms": 1}
        run = ended(admit(ada, "rehearsal/clip", **asked, behaviour="hang"))
    assert (run.outcome, closed(run.id)) == ("supplier_error", ("voided", 0))
    assert margin(run.id)["margin"] == -3 * COST


def test_what_the_lab_never_saw_costs_us_nothing(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip")
    end = failed("cancelled_after", "cancelled", "x", at_lab="cancelled_before")
    assert settle(*worker.claim(), end) == "settled"
    assert margin(run_id)["cost"] == 0


def test_our_own_pool_costs_every_attempt_also_lost_ones(ada: Person, glyph: Release) -> None:
    run_id = admit(ada, "kinora/glyph", prompt="red heart")
    worker.claim("cpu.std")
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert sweep.lapsed_leases() == 1
    lost = Attempt.objects.get(number=1)
    Attempt.objects.filter(pk=lost.pk).update(ended_at=lost.claimed_at + timedelta(seconds=40))
    attempt = worker.claim("cpu.std")
    assert settle(*attempt, drawn("0.25", clock="1")) == "settled"
    found = margin(run_id)
    assert found["charged"] == 25_000
    second = 40_000  # nano-units of the pool's cost per second
    assert 40 * second <= found["cost"] < 60 * second
    names = Entry.objects.filter(transfer__kind="cost").values_list("account__name", flat=True)
    assert set(names) == {"pool:cpu.std", "cogs:kinora/glyph"}


def test_a_result_told_again_costs_us_once(ada: Person, clip: Release) -> None:
    admit(ada, "rehearsal/clip", seconds=5)
    attempt, end = worker.claim(), delivered(5, reported=5)
    assert [settle(*attempt, end) for _ in range(3)] == ["settled", "replayed", "replayed"]
    assert Transfer.objects.filter(kind="cost").count() == 1


def test_a_later_tariff_does_not_touch_an_older_run(ada: Person, clip: Release) -> None:
    older = admit(ada, "rehearsal/clip", seconds=5)
    publish_tariff(release=clip, lines=[{"unit": "video_second", "unit_price": "0.009"}])
    newer = admit(ada, "rehearsal/clip", seconds=5)
    for _ in range(2):
        settle(*worker.claim(), delivered(5, reported=5))
    assert [margin(run)["cost"] for run in (older, newer)] == [30_000_000, 45_000_000]


@pytest.fixture
def unpriced(ada: Person, clip: Release) -> UUID:
    """A clip of a size of which its tariff does not say what it costs."""
    high = {"when": {"resolution": "360p"}, "unit_price": "0.006"}
    publish_tariff(release=clip, lines=[{"unit": "video_second", "table": [high]}])
    run_id = admit(ada, "rehearsal/clip", seconds=5, resolution="180p")
    assert settle(*worker.claim(), delivered(5, reported=5, height=180)) == "settled"
    return run_id


def test_a_tariff_that_cannot_be_reckoned_keeps_nobody_waiting(unpriced: UUID) -> None:
    assert closed(unpriced) == ("captured", 50_000_000)
    assert margin(unpriced)["cost"] == 0
    [waits] = uncosted.waiting()
    assert waits.run_id == unpriced
    assert "There is no price for" in waits.why


def test_a_person_books_what_it_cost_once(unpriced: UUID, rook: User) -> None:
    page = Client()
    assert page.login(email=rook.email, password=PASSWORD)
    inbox, name = reverse("exceptions"), ids.public("run", unpriced)
    assert "What did these cost us?" in page.get(inbox).content.decode()
    for wrong in ({"amount": "much"}, {"amount": "-1"}, {"amount": "0.03", "why": " "}):
        page.post(reverse("uncosted", args=[name]), {"why": "invoice 7"} | wrong)
        assert margin(unpriced)["cost"] == 0
    for _ in range(2):
        page.post(reverse("uncosted", args=[name]), {"amount": "$0.03", "why": "invoice 7"})
    found = margin(unpriced)
    assert (found["charged"], found["cost"]) == (50_000_000, 30_000_000)
    entries = Entry.objects.filter(transfer__kind="cost")
    assert dict(entries.values_list("account__name", "amount")) == {
        "lab_payable:rehearsal": 30_000_000, "cogs:rehearsal/clip": -30_000_000,
    }  # fmt: skip
    decision = Decision.objects.get()
    assert (decision.act, decision.amount, decision.why) == ("cost", 30_000_000, "invoice 7")
    assert "What did these cost us?" not in page.get(inbox).content.decode()
    assert closed(unpriced) == ("captured", 50_000_000)


def test_a_customer_never_sees_what_the_lab_charges(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    settle(*worker.claim(), delivered(5, reported=5))
    shown = str(receipt(run_id, ada.team.id))
    assert "lab_payable" not in shown
    assert "cogs" not in shown


def test_margins_add_up_over_releases_and_outcomes(
    ada: Person, clip: Release, still: Release, lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    with supplying():
        whole = ended(admit(ada, **SMALL, count=2))
        ended(admit(ada, **SMALL, behaviour="fail"))
    refund(run=whole.id, amount=1_000_000, reference="r", note="half a picture")
    now = timezone.now()
    found = {r["outcome"]: r for r in margins(now - timedelta(days=1), now + timedelta(days=1))}
    assert found["succeeded"]["margin"] == 4_000_000 - 1_000_000 - 2 * 1_200_000
    assert (found["supplier_error"]["runs"], found["supplier_error"]["margin"]) == (1, 0)
    call_command("margins")
    [line] = [t for t in capsys.readouterr().out.splitlines() if "succeeded" in t]
    assert line.startswith("rehearsal/still@2026-11-20  succeeded  1 runs  charged $0.004 USD")
    assert line.endswith("margin $0.0006 USD")
