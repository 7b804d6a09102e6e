"""Where a lab sends word of a job, and how it reaches the supplier that has it in hand.

Each job has an address of its own that nobody can guess. What comes there decides nothing: it
wakes the question after the job. It travels as a notification of PostgreSQL, and losing one costs
the rest of an interval.
"""

import base64
import hmac
from uuid import UUID

from django.conf import settings

from marketplace import ids
from marketplace.webhooks.secrets import raw

CHANNEL = "kinora_lab_notices"
PREFIX = "labs"
LONGEST = 200  # characters of a receipt


def address(lab: str, run: UUID) -> str:
    """Where the lab may send word of this run's job; empty where labs cannot reach us."""
    if not settings.LAB_NOTICES_URL:
        return ""
    name = ids.public("run", run)
    return f"{settings.LAB_NOTICES_URL}/{PREFIX}/{lab}/{name}/{token(lab, run)}"


def token(lab: str, run: UUID) -> str:
    found = raw(f"lab notice|{lab}|{run}")
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def is_ours(lab: str, run: UUID, said: str) -> bool:
    return hmac.compare_digest(token(lab, run).encode(), said.encode())


def telling(run: UUID, receipt: str) -> tuple[str, list[str]]:
    """Tell every supplier that a lab has sent word of a run's job."""
    return "SELECT pg_notify(%s, %s)", [CHANNEL, f"{run} {receipt[:LONGEST]}"]


def heard(payload: str) -> tuple[UUID, str]:
    """The run and the receipt of a notification; no run's id where it names none."""
    run, _, receipt = payload.partition(" ")
    try:
        return UUID(run), receipt
    except ValueError:
        return UUID(int=0), ""
