"""What the complaints ask of the books: what a run was charged, and that a denial wrote nothing."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Sum

from marketplace import ids
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Entry, Hold, Transfer
from marketplace.media.probe import Measures
from marketplace.metering.models import MeterEvent
from marketplace.runs import claim
from marketplace.runs.connections import rows
from marketplace.runs.models import Run
from marketplace.runs.settle import Case, End, Kept, item, settling
from tests.conftest import Person
from tests.marketplace.supply import closed
from tests.marketplace.web import Answer

FUNDS = 5_000_000_000  # what ada begins with
FREE = ("voided", 0)
REVIEW = ("in_review", 0)
FPS = 24
SHORT = {"fps": 8, "resolution": "180p", "latency_ms": 0}  # a clip that is drawn in no time


def charge(run_id: UUID) -> tuple[str, int]:
    """State and captured nano-units of a run's hold; and all entries must sum to 0."""
    assert Entry.objects.aggregate(sum=Sum("amount"))["sum"] == 0
    return closed(run_id)


def money(person: Person) -> tuple[int, int]:
    """Posted and held nano-units of a person's team."""
    found = balance(person.team.id)
    assert found.available == found.posted - found.held
    return found.posted, found.held


def written(person: Person) -> dict[str, Any]:
    """All that a run can write; the same before and after a denial."""
    tables = (Run, Hold, Transfer, Entry, MeterEvent)
    return {table.__name__: table.objects.count() for table in tables} | {"money": money(person)}


def settle(run_id: UUID, attempt: int, end: End) -> str:
    """Tell how an attempt ended, as whoever carried it does: settled, replayed or stale."""
    [known] = rows(claim.cases([run_id]))
    [answer] = rows(settling([item(Case.from_row(known, attempt), end)]))
    return str(answer["code"])


def delivered(
    seconds: int, *, reported: Decimal | int | None, height: int = 360, sound: bool = True
) -> End:
    """A clip of which our probe counted `seconds`, whatever its lab reported."""
    size = (height * 16 // 9, height)
    found = Measures(
        "video", "video/mp4", *size, "h264", seconds * FPS, Decimal(seconds), sound=sound
    )
    said = {} if reported is None else {"video_second": Decimal(reported)}
    return End("succeeded", (Kept("clip.mp4", 100, "ab" * 32, found),), reported=said)


def drawn(seconds: str, *, clock: str) -> End:
    """A picture that took a worker `seconds` by its own word and at most `clock` by ours."""
    picture = Kept("0.png", 100, "ab" * 32, Measures("image", "image/png", 256, 256, "png"))
    used = {"gpu_second": Decimal(seconds)}
    return End("succeeded", (picture,), reported=used, measured_seconds=Decimal(clock))


def run_of(answer: Answer) -> UUID:
    """The run that the API answered with."""
    assert answer.status in (200, 201), answer.body
    found = ids.private("run", answer.json["id"])
    assert found
    return found
