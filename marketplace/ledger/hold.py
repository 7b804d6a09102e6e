"""Set money aside before any work. The function is `hold.sql`; admission calls it inside T1.

This wrapper serves what holds money outside of a run's admission, and the tests.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection


@dataclass(frozen=True, slots=True)
class Want:
    """amount ≤ quoted, both nano-units of `currency`.

    model: `lab/model`; without it no credit with a scope is spent.
    """

    run_id: UUID
    team_id: UUID
    quoted: int
    amount: int
    price_id: int
    currency: str = "USD"
    model: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "run_id": str(self.run_id),
            "team_id": str(self.team_id),
            "quoted": self.quoted,
            "amount": self.amount,
            "price_id": self.price_id,
            "currency": self.currency,
            "model": self.model,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """code: `ok` or `insufficient_balance`; available: nano-units, of a refusal."""

    run_id: UUID
    code: str
    available: int | None


def hold(*, wants: Sequence[Want]) -> list[Answer]:
    """Hold for many runs in one round trip. Runs inside the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id, code, available FROM hold_money(%s::jsonb)",
            [json.dumps([want.as_json() for want in wants])],
        )
        return [Answer(*row) for row in cursor.fetchall()]
