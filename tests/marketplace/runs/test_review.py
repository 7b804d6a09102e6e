"""An admin decides what a run is charged whose witnesses disagreed."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.ledger.balance import balance
from marketplace.ledger.refund import refund
from marketplace.metering.models import MeterEvent
from marketplace.runs.receipt import receipt
from marketplace.runs.review import decide, waiting
from marketplace.runs.usage import Wish, usage
from tests.conftest import Person
from tests.lab import Lab
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
