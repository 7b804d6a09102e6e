"""A statement of everything there is: how it is made, and what the script says of it."""

import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from django.utils import timezone
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.ledger.refund import refund
from marketplace.metering.publish import publish
from marketplace.runs import claim
from marketplace.runs.connections import rows
from marketplace.runs.settle import Case, End, failed, item, settling
from marketplace.runs.statement import sealed, statement
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.runs.test_settle import pictures
from tests.marketplace.supply import admit

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_statement.py"
TODAY = timezone.now().date()
END = TODAY + timedelta(days=2)  # midnight may pass while tests run
QUERY = f"from={TODAY}&to={END}"
Line = dict[str, Any]

COMPLEX: list[Line] = [
    {
        "unit": "image",
        "minimum": "3",
        "included": "1",
        "step": "0.75",
        "rounding": "nearest",
        "tiers": {
            "mode": "graduated",
            "steps": [
                {"up_to": "0.5", "unit_price": "0.0002"},
                {"up_to": None, "unit_price": "0.000123456789"},
            ],
        },
        "factors": [
            {"when": {"size": "64x64"}, "factor": "0.333333333333"},
            {"between": ["00:00", "12:00"], "factor": "0.7"},
        ],
    },
    {
        "unit": "image",
        "tiers": {
            "mode": "volume",
            "steps": [
                {"up_to": "2", "unit_price": "0.0003"},
                {"up_to": None, "unit_price": "0.0002"},
            ],
        },
    },
    {
        "unit": "megapixel",
        "table": [
            {"when": {"size": "64x64", "seed": 5}, "unit_price": "0.0123"},
            {"when": {"size": "64x64"}, "unit_price": "0.0234"},
        ],
        "unit_price": "0.0001",
    },
    {
        "unit": "token",
        "quantity": "ceil(usage.image * 7 / 3) / 7 + min(inputs.seed, 5) * usage.image * 0.5",
        "unit_price": "0.0000011",
    },
]


def run(person: Person, delivered: int | None, **inputs: Any) -> UUID:
    """A run of four small pictures, of which some are delivered; None: the lab failed."""
    admit(person, **{"size": "64x64", "count": 4} | inputs)
    run_id, attempt = worker.claim()
    [row] = rows(claim.cases([run_id]))
    end = failed("supplier_error", "broken", "The lab failed.")
    if delivered is not None:
        megapixels = Decimal(delivered * 64 * 64) / 1_000_000
        said = {"image": Decimal(delivered), "megapixel": megapixels}
        end = End("succeeded", pictures(delivered), reported=said)
    [settled] = rows(settling([item(Case.from_row(row, attempt), end)]))
    assert settled["code"] == "settled"
    return run_id


def everything(ada: Person, cy: Person, still: Release, settings: Settings) -> list[Line]:
    """What is told of a simple price, a complex one, a short delivery, a failure, a review."""
    first = run(ada, 4, count=4)
    settings.PRICE_NOTICE_DAYS = 0
    publish(release=still, lines=COMPLEX)
    second = run(ada, 4, seed=5, prompt="Dämmerung")
    run(cy, 4)
    run(ada, 3, seed=2)
    run(ada, None)
    run(ada, 5, count=1)  # more than was asked for: the witnesses disagree
    refund(run=first, amount=1_234_567, reference="a", note="half a picture")
    refund(run=first, amount=1, reference="b", note="")
    refund(run=second, amount=None, reference="c", note="wrong")
    return list(statement(ada.team.id, TODAY, END))


def verify(text: bytes, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-I", str(SCRIPT), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


def checked(lines: list[Line]) -> tuple[int, str]:
    """The verdict on lines under a fresh seal, so that the arithmetic alone must find it."""
    bare = ({k: v for k, v in r.items() if (r["kind"], k) != ("total", "sha256")} for r in lines)
    return verify(b"".join(sealed(bare)))


def of(lines: list[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]
