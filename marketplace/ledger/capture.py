"""Take held money or give it back. The function is `capture.sql`; settlement calls it inside T2.

`closing` builds one item of that call; `close` makes the call outside of a settlement.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from django.db import connection

State = Literal["captured", "voided", "expired", "in_review"]


@dataclass(frozen=True, slots=True)
class Share:
    """What a system account, by its name, gets of a capture; nano-units."""

    account: str
    amount: int


def captured(amount: int, shares: Sequence[Share], agreement: int | None = None) -> dict[str, Any]:
    """Capture `amount` and share it; the shares sum to it exactly. agreement: that they follow."""
    if amount < 0 or sum(share.amount for share in shares) != amount:
        raise ValueError("shares must sum to the captured amount")
    listed = [{"account": s.account, "amount": s.amount} for s in shares]
    named = {"agreement": agreement} if agreement else {}
    return {"state": "captured", "amount": amount, "shares": listed} | named


def voided() -> dict[str, Any]:
    """Give the whole hold back."""
    return {"state": "voided", "amount": 0, "shares": []}


def expired() -> dict[str, Any]:
    """Give the whole hold back of a run that is gone; the audit shows it."""
    return {"state": "expired", "amount": 0, "shares": []}


def in_review() -> dict[str, Any]:
    """Leave the hold as it is until an admin decides."""
    return {"state": "in_review", "amount": 0, "shares": []}


def close(*, closings: dict[UUID, dict[str, Any]]) -> dict[UUID, str]:
    """Close holds in one round trip, run → state. Runs inside the caller's transaction.

    Repeats safely: a hold that is closed already is left as it is and missing from the answer.
    """
    items = [{"run_id": str(run)} | closing for run, closing in closings.items()]
    with connection.cursor() as cursor:
        cursor.execute("SELECT run_id, state FROM close_holds(%s::jsonb)", [json.dumps(items)])
        return dict(cursor.fetchall())
