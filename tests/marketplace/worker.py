"""What a worker does to a run, by the SQL functions themselves, without a worker."""

from typing import Any
from uuid import UUID, uuid4

from django.db import connection
from psycopg.types.json import Jsonb


def claim(queue: str = "labs") -> tuple[UUID, int]:
    """The next waiting run of a queue and its attempt."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id, attempt FROM claim_runs(%s, 'tests', '{}', 1, '15 s')", [queue]
        )
        run_id, attempt = cursor.fetchone()
        return run_id, attempt


def report(run_id: UUID, attempt: int, step: int, steps: int, preview: str = "") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT cancel FROM report_run(%s, %s, '15 s', 'sampling', %s, %s, %s)",
            [run_id, attempt, step, steps, preview],
        )


def succeed(run_id: UUID, attempt: int, *, pictures: int = 1) -> None:
    """Deliver `pictures` and capture their price."""
    amount = pictures * 2_000_000
    item: dict[str, Any] = {
        "run_id": str(run_id),
        "attempt": attempt,
        "state": "succeeded",
        "outcome": "succeeded",
        "error": None,
        "usage": {"outputs": pictures},
        "outputs": [picture(place) for place in range(pictures)],
        "events": [dict.fromkeys(("quantity", "requested", "reported", "measured"), pictures)],
        "hold": {
            "state": "captured",
            "amount": amount,
            "shares": [{"account": "revenue:rehearsal/still", "amount": amount}],
        },
    }
    item["events"][0]["unit"] = "image"
    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM settle_runs(%s)", [Jsonb([item])])
        assert cursor.fetchall() == [("settled",)]


def fail(run_id: UUID, attempt: int, *, outcome: str, message: str) -> None:
    """End without anything to show for it, at nobody's cost."""
    item: dict[str, Any] = {
        "run_id": str(run_id),
        "attempt": attempt,
        "state": "failed",
        "outcome": outcome,
        "error": {"code": outcome, "message": message},
        "outputs": [],
        "events": [],
        "hold": {"state": "voided", "amount": 0, "shares": []},
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM settle_runs(%s)", [Jsonb([item])])
        assert cursor.fetchall() == [("settled",)]


def picture(place: int) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "position": place,
        "kind": "image",
        "content_type": "image/png",
        "path": f"outputs/{uuid4()}.png",
        "bytes": 100,
        "sha256": "ab" * 32,
        "width": 64,
        "height": 64,
        "frames": None,
        "seconds": None,
        "sound": False,
        "expires_at": "2099-01-01T00:00:00Z",
    }
