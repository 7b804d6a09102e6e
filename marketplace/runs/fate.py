"""Jobs of unknown fate: handed in, and no receipt came back. What waits, and who finds out.

The customer's run has ended at no cost. The supplier asks labs that know our name for a job, ever
more seldom; for all others the lab's notification, its invoice or a person says. A job that the lab
made waits for its cost in `uncosted`.
"""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from marketplace.accounts.models import User
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.runs.connections import Statement
from marketplace.runs.labs import Fate
from marketplace.runs.models import Decision, Uncosted

MOST = 200
MADE = "made without a receipt: the lab will bill it"

TAKE_SQL = """
    UPDATE runs_fate SET asks = asks + 1,
           ask_at = now() + least(interval '30 s' * 2 ^ asks, interval '6 h')
     WHERE run_id IN (SELECT run_id FROM runs_fate
                       WHERE state = 'open' AND ask_at < now()
                       ORDER BY ask_at LIMIT 50 FOR UPDATE SKIP LOCKED)
    RETURNING run_id, adapter, job_key"""
TELL_SQL = """
    WITH told AS (
        UPDATE runs_fate SET state = %(state)s, evidence = evidence || jsonb_build_array(
                   jsonb_build_object('at', now(), 'what', %(what)s::text, 'lab', %(lab)s::jsonb))
         WHERE run_id = %(run)s AND state = 'open' RETURNING run_id)
    INSERT INTO runs_uncosted (run_id, why, at)
    SELECT run_id, %(why)s, now() FROM told WHERE %(state)s = 'made'
    ON CONFLICT DO NOTHING RETURNING run_id"""


def take() -> Statement:
    """Open fates whose labs are to be asked now: run_id, adapter, job_key."""
    return TAKE_SQL, []


def open_one(run: UUID) -> Statement:
    """The adapter of a run's open fate, if it has one."""
    return "SELECT adapter FROM runs_fate WHERE run_id = %s AND state = 'open'", [run]


def tell(run: UUID, state: str, what: str, lab: dict[str, Any] | None = None) -> Statement:
    """Keep what was learnt of an open one; `made` has its cost wait to be booked."""
    said = {"run": run, "state": state, "what": what, "lab": Jsonb(lab), "why": MADE}
    return TELL_SQL, said


def waiting() -> list[Fate]:
    """The open ones, oldest first."""
    found = Fate.objects.filter(state=Fate.State.OPEN).order_by("at")
    return list(found.select_related("run__team", "run__release__model__lab")[:MOST])


def unresolved() -> int:
    """How many are open: should be 0."""
    return Fate.objects.filter(state=Fate.State.OPEN).count()


@transaction.atomic
def close(*, run: UUID, made: bool, admin: User, why: str) -> None:
    """A person knows, by the lab's invoice or its word. Raises NotFound, Conflict, InvalidInput."""
    if not why.strip():
        raise InvalidInput("Say by what you know it: an invoice, the lab's word.", param="why")
    found = Fate.objects.select_for_update().filter(run_id=run).first()
    if found is None:
        raise NotFound("No job of that run is in doubt.")
    if found.state != Fate.State.OPEN:
        raise Conflict("It is known already.")
    found.state = Fate.State.MADE if made else Fate.State.ABSENT
    found.save(update_fields=["state"])
    if made:
        Uncosted.objects.get_or_create(run_id=run, defaults={"why": MADE, "at": Now()})
    Decision.objects.create(run_id=run, user=admin, act="fate", amount=0, why=why[:500])
