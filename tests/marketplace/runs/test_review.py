"""An admin decides what a run is charged whose witnesses disagreed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.ledger.balance import balance
from marketplace.ledger.refund import refund
from marketplace.metering.models import MeterEvent
from marketplace.runs import review
from marketplace.runs.models import Decision, Run
from marketplace.runs.receipt import receipt
from marketplace.runs.review import decide, waiting
from marketplace.runs.usage import Wish, usage
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.pages.test_pages import logged_in
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def disputed(ada: Person, still: Release, lab: Lab) -> UUID:
    """Three pictures asked for and delivered; the lab says 385.2."""
    with supplying():
        return ended(admit(ada, **SMALL, count=3, behaviour="lie_longer")).id


def test_what_waits_is_shown_with_what_the_witnesses_said(disputed: UUID) -> None:
    [row] = waiting()
    assert (row["run_id"], row["unit"], row["held"]) == (disputed, "image", 6_000_000)
    said = (row["requested"], row["reported"], row["measured"])
    assert said == (3, Decimal("385.2"), 3)


def test_the_decision_is_charged_and_the_receipt_adds_up(disputed: UUID, ada: Person) -> None:
    assert decide(run=disputed, charged={"image": Decimal(2)}).amount == 4_000_000
    assert closed(disputed) == ("captured", 4_000_000)
    found = receipt(disputed, ada.team.id)
    assert found["usage"][0]["charged"] == "2"
    assert found["cost"]["given_back"]["nano"] == 2_000_000
    assert found["refunds"] == []
    refund(run=disputed, amount=1_500_000, reference="r", note="half a picture")
    found = receipt(disputed, ada.team.id)
    [back] = found["refunds"]
    assert (back["amount"]["nano"], back["note"]) == (1_500_000, "half a picture")
    assert sum(entry["amount"]["nano"] for entry in found["entries"]) == 0
    assert waiting() == []


def test_usage_shows_the_units_on_the_day_that_they_are_charged(
    disputed: UUID, ada: Person
) -> None:
    MeterEvent.objects.update(timestamp=F("timestamp") - timedelta(days=1))
    decide(run=disputed, charged={"image": Decimal(2)})
    today = timezone.now().date()
    [[line]] = usage(Wish(ada.team.id, today - timedelta(days=2), today), ("day",))
    assert line.dims == {"day": today}
    assert (line.runs, line.charged, line.units) == (1, 4_000_000, {"image": 2})


def test_nothing_may_be_charged(disputed: UUID, ada: Person) -> None:
    assert decide(run=disputed, charged={}).amount == 0
    assert closed(disputed) == ("voided", 0)
    assert balance(ada.team.id).available == 5_000_000_000


def test_a_decision_is_made_once_and_within_the_hold(disputed: UUID) -> None:
    with pytest.raises(Conflict, match="is held"):
        decide(run=disputed, charged={"image": Decimal("3.1")})
    for wrong in ({"video_second": Decimal(1)}, {"image": Decimal(-1)}, {"image": Decimal("NaN")}):
        with pytest.raises(InvalidInput):
            decide(run=disputed, charged=wrong)
    with pytest.raises(NotFound):
        decide(run=ids.uuid7(), charged={})
    assert closed(disputed) == ("in_review", 0)
    decide(run=disputed, charged={"image": Decimal(3)})
    with pytest.raises(Conflict, match="captured, not in review"):
        decide(run=disputed, charged={})
    assert closed(disputed) == ("captured", 6_000_000)


def test_an_admin_decides_from_the_command_line(
    disputed: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ids.public("run", disputed)
    call_command("review")
    assert capsys.readouterr().out.startswith(f"{name}  rehearsal/still  image 3")
    for wrong in (["run_1", "--void"], [name], [name, "--charge", "image=two"]):
        with pytest.raises(CommandError):
            call_command("review", *wrong)
    call_command("review", name, "--charge", "image=1")
    assert capsys.readouterr().out == f"{name}  $0.002 USD captured\n"
    assert MeterEvent.objects.get().quantity == 1


def test_what_nobody_decides_in_time_is_not_charged(disputed: UUID, ada: Person) -> None:
    assert review.overdue() == 0
    assert closed(disputed) == ("in_review", 0)
    week = timezone.now() - timedelta(days=7)
    Run.objects.filter(id=disputed).update(finished_at=week)
    assert (review.overdue(), review.overdue()) == (1, 0)
    assert closed(disputed) == ("voided", 0)
    assert balance(ada.team.id).available == 5_000_000_000
    [told] = receipt(disputed, ada.team.id)["decisions"]
    assert (told["act"], told["words"]) == ("void", review.LATE)
    decision = Decision.objects.get()
    assert (decision.user, decision.why) == (None, "overdue")


def test_a_weekend_is_no_time_to_decide(disputed: UUID) -> None:
    """Friday noon is answered by Wednesday noon, five days later."""
    friday = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert review.answer_by(friday) == friday + timedelta(days=5)


def test_the_runs_page_says_until_when_a_person_decides(disputed: UUID, ada: Person) -> None:
    page = logged_in(ada)
    path = reverse("run", args=[ids.public("run", disputed)])
    shown = page.get(path).content.decode()
    due = review.answer_by(Run.objects.get(id=disputed).finished_at or timezone.now())
    assert "without one you are not charged" in shown
    assert due.isoformat() in shown
    decide(run=disputed, charged={})
    assert "without one you are not charged" not in page.get(path).content.decode()
