"""Put right what a crash left behind. The only code that loops over other people's rows.

Each sweep repeats safely, may run twice at once, and gives a count. Of lapsed leases, unsent
hints and orphaned holds it should be 0. `manage.py sweep` runs them once, the beat for ever.
"""

import logging
from collections.abc import Callable
from uuid import UUID

from marketplace.access.alerts import tell_owners
from marketplace.ledger import capture
from marketplace.ledger.fold import fold
from marketplace.ledger.transfer import expire_credits
from marketplace.media import retention, store
from marketplace.runs import claim, fate, health, hint, pace, refunds, review, usage
from marketplace.runs.connections import rows
from marketplace.runs.deliver import deliver
from marketplace.runs.forget import forget
from marketplace.runs.sessions import lost
from marketplace.runs.settle import Case, item, settling
from marketplace.webhooks import tidy

log = logging.getLogger(__name__)

UNSENT_SQL = """
    DELETE FROM runs_outbox WHERE id IN (
        SELECT id FROM runs_outbox WHERE topic = 'hint' AND created_at < now() - %s::interval
         ORDER BY id LIMIT 5000 FOR UPDATE SKIP LOCKED)
    RETURNING key"""
LATE_SQL = "SELECT run_id FROM end_late_runs(500)"
ENDS_SQL = """
    SELECT id, team_id FROM runs_run
     WHERE state IN ('queued', 'running') AND cancel_at < now() AND cancel_requested_at IS NULL
     ORDER BY cancel_at LIMIT 500"""
CANCEL_SQL = "SELECT state FROM cancel_run(%s, %s)"
WAITING_SQL = """
    SELECT queue, count(*) AS runs FROM runs_run
     WHERE state = 'queued' AND created_at < now() - interval '5 s' GROUP BY queue"""
ORPHANS_SQL = """
    SELECT h.run_id, h.created_at < now() - interval '10 min' AS gone
      FROM ledger_hold h LEFT JOIN runs_run r ON r.id = h.run_id
     WHERE h.state = 'open' AND h.created_at < now() - interval '10 s'
       AND (r.id IS NULL OR r.finished_at IS NOT NULL) LIMIT 100"""
EXPIRED_SQL = """
    SELECT id, path FROM runs_output WHERE path <> '' AND expires_at < now()
     ORDER BY expires_at LIMIT 500"""
NEEDED_SQL = """
    SELECT DISTINCT f.value::uuid AS file_id FROM runs_run r, jsonb_each_text(r.files) f
     WHERE r.state IN ('queued', 'running') AND r.files <> '{}'"""
DELETED_SQL = "UPDATE runs_output SET path = '' WHERE id = ANY(%s) RETURNING id"
PROGRESS_SQL = """
    DELETE FROM runs_progress p USING runs_run r
     WHERE r.id = p.run_id AND r.finished_at < now() - interval '1 min' RETURNING p.run_id"""


def lapsed_leases() -> int:
    """Make runs claimable again whose worker went silent, and end those that had their chances."""
    taken = rows(claim.take_back_lapsed()) + rows(claim.take_back_silent())
    spent = {row["run_id"]: row["attempt"] for row in taken if row["exhausted"]}
    if spent:
        known = rows(claim.cases(spent))
        rows(settling([item(Case.from_row(r, spent[r["run_id"]]), lost(r)) for r in known]))
    if len(taken) > len(spent):
        unsent_hints(older_than="0 s")
    return len(taken)


def late_starts() -> int:
    """End runs that did not begin in the time their callers gave them."""
    return len(rows((LATE_SQL, [])))


def late_ends() -> int:
    """Cancel runs that have not ended in the time their callers gave them."""
    found = rows((ENDS_SQL, []))
    for row in found:
        rows((CANCEL_SQL, [row["id"], row["team_id"]]))
    return len(found)


def unsent_hints(older_than: str = "2 s") -> int:
    """Publish the hints that nobody published after their commit."""
    found = rows((UNSENT_SQL, [older_than]))
    for queue in {row["key"] for row in found}:
        hint.publish(queue)
    return len(found)


def long_waiting() -> int:
    """Hint again for queues with runs that have waited for five seconds; busy is not wrong."""
    found = rows((WAITING_SQL, []))
    for row in found:
        hint.publish(row["queue"])
    return sum(row["runs"] for row in found)


def orphaned_holds() -> int:
    """Open holds whose run has ended or never was. There is no way to make one: a person looks.

    The team gets its money back after ten minutes; the hold says `expired`, and so does the audit.
    """
    found = rows((ORPHANS_SQL, []))
    if found:
        log.error("open holds without a live run: %s", [str(row["run_id"]) for row in found])
    if gone := [row["run_id"] for row in found if row["gone"]]:
        capture.close(closings=dict.fromkeys(gone, capture.expired()))
    return len(found)


def expired_credits() -> int:
    """Move what is left of expired credits out of their teams' accounts."""
    return expire_credits()


def old_progress() -> int:
    """Forget how far runs were that have ended a minute ago."""
    return len(rows((PROGRESS_SQL, [])))


def expired_outputs() -> int:
    """Delete files whose time has come; the row stays, with its measures and hash."""
    found = rows((EXPIRED_SQL, []))
    for row in found:
        store.delete(row["path"])
    rows((DELETED_SQL, [[row["id"] for row in found]]))
    return len(found)


def needed_files() -> list[UUID]:
    """Files that live runs were given; they stay until those have ended."""
    return [row["file_id"] for row in rows((NEEDED_SQL, []))]


def expired_files() -> int:
    """Let go of the bytes of files whose time has come or that were deleted."""
    return retention.expire(needed_files())


def forgotten_files() -> int:
    """Forget files past their record clock, and announced ones that never came."""
    return retention.forget(needed_files())


OFTEN: dict[str, Callable[[], int]] = {
    "lapsed leases": lapsed_leases,
    "late starts": late_starts,
    "late ends": late_ends,
    "unsent hints": unsent_hints,
    "long-waiting runs": long_waiting,
    "finished runs delivered": deliver,
    "days of usage written": usage.fold,
    "days of pace written": pace.fold,
    "owners told of budgets": tell_owners,
}
SELDOM: dict[str, Callable[[], int]] = {
    "orphaned holds": orphaned_holds,
    "expired credits": expired_credits,
    "entries folded": fold,
    "progress of ended runs": old_progress,
    "expired outputs": expired_outputs,
    "refunds nobody looked at": refunds.unlooked,
    "overdue refund requests": refunds.overdue,
    "overdue reviews": review.overdue,
    "webhook deliveries forgotten": tidy.forget_old,
    "disabled endpoints told of": tidy.tell_of_disabled,
    "jobs of unknown fate": fate.unresolved,
    "health of labs forgotten": health.forget_old,
    "forgotten runs": forget,
    "expired files": expired_files,
    "forgotten files": forgotten_files,
    "leftovers": retention.clear,
    "abandoned files": store.forget_abandoned,
}


def sweep(sweeps: dict[str, Callable[[], int]]) -> dict[str, int]:
    """Run the sweeps, each on its own: one that fails does not keep the others from running."""
    counts = {}
    for name, run in sweeps.items():
        try:
            counts[name] = run()
        except Exception:
            log.exception("the sweep of %s failed", name)
    return counts
