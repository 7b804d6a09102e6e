"""Claim, renew, report, hand back: the statements of the lease and its fence (`claim.sql`).

Each is one round trip. They are built here and sent by whoever holds the lease: the supplier's
own connections, or Django's for a GPU worker behind HTTP.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.types.json import Jsonb

from marketplace.runs.connections import Statement

LEASE = f"{settings.LEASE_SECONDS} s"
SILENT_SECONDS = 6  # more than two renewals of a supplier
REST = f"{settings.LEASE_SECONDS - SILENT_SECONDS} s"
CASE_SQL = """
    SELECT r.id AS run_id, r.state, r.attempt, r.cancel_requested_at IS NOT NULL AS cancel,
           r.inputs, b.slug || '/' || m.slug AS model, l.version, l.adapter, l.target,
           l.output_kind, l.content_type, l.timeout_seconds, l.facts, p.policy,
           p.lines, p.currency, h.amount AS held,
           r.created_at, r.started_at, r.media_seconds,
           (SELECT json_object_agg(n.key, s.path) FROM jsonb_each_text(r.files) n
              JOIN media_file s ON s.id = n.value::uuid) AS files,
           extract(epoch FROM r.cancel_requested_at - a.claimed_at) AS cancel_seconds,
           p.segment, r.route ->> 'door' AS door,
           (SELECT json_build_object(
                       'seconds', round(extract(epoch FROM
                           coalesce(s.closed_at, s.seen_at) - s.opened_at), 6)::text,
                       'reported', s.reported::text, 'frames', s.frames, 'reason', s.reason)
              FROM runs_session s WHERE s.run_id = r.id) AS session,
           r.ticket IS NULL AND EXISTS (
               SELECT 1 FROM runs_attempt y WHERE y.run_id = r.id AND y.outcome = 'lost'
                  AND y.submitting_at IS NOT NULL) AS doubtful,
           r.queue, f.lines AS tariff_lines, f.policy AS tariff_policy,
           CASE WHEN g.id IS NOT NULL THEN json_build_object('agreement', g.id, 'lab', b.slug,
               'basis', g.basis, 'millionths', g.millionths, 'promotions', g.promotions)
               END AS terms,
           CASE WHEN g.basis = 'net' THEN (
               SELECT json_agg(json_build_object('amount', q.amount, 'funder',
                          CASE WHEN c.kind = 'promo' THEN coalesce(nullif(c.funder, ''), 'kinora')
                               ELSE '' END) ORDER BY q.position)
                 FROM ledger_holdpart q JOIN ledger_account c ON c.id = q.account_id
                WHERE q.hold_id = r.id) END AS parts,
           (SELECT sum(extract(epoch FROM coalesce(x.ended_at, clock_timestamp()) - x.claimed_at))
              FROM runs_attempt x WHERE x.run_id = r.id) AS attempt_seconds
      FROM runs_run r
      JOIN catalog_release l ON l.id = r.release_id
      JOIN catalog_model m ON m.id = l.model_id
      JOIN catalog_lab b ON b.id = m.lab_id
      JOIN metering_price p ON p.id = r.price_id
      JOIN ledger_hold h ON h.run_id = r.id
      LEFT JOIN runs_attempt a ON a.run_id = r.id AND a.number = r.attempt
      LEFT JOIN metering_tariff f ON f.release_id = r.release_id AND f.currency = p.currency
           AND f.effective_from <= r.created_at
           AND (f.effective_to IS NULL OR f.effective_to > r.created_at)
      LEFT JOIN payouts_agreement g ON g.lab_id = m.lab_id AND g.currency = p.currency
           AND g.effective_from <= r.created_at
           AND (g.effective_to IS NULL OR g.effective_to > r.created_at)
     WHERE r.id = ANY(%s)"""


def claim(
    *,
    queue: str,
    worker: str,
    warm: Sequence[str],
    limit: int,
    warm_only: bool = False,
    without: Sequence[str] = (),
) -> Statement:
    """Take up to `limit` waiting runs: run_id, attempt, inputs, ticket, timeout_seconds, cancel,
    laned. warm_only: none of a model that would have to be loaded beside the runs in
    hand; without: adapters that the worker has no room for."""
    return (
        "SELECT run_id, attempt, inputs, ticket, timeout_seconds, cancel, laned"
        " FROM claim_runs(%s, %s, %s, %s, %s::interval, %s, %s)",
        [queue, worker, list(warm), limit, LEASE, warm_only, list(without)],
    )


def cases(runs: Iterable[UUID]) -> Statement:
    """All that settling these runs needs to know; a row for `settle.Case` each."""
    return CASE_SQL, [list(runs)]


def renew(held: Iterable[tuple[UUID, int]]) -> Statement:
    """Renew many leases: run_id, cancel of those whose fence still stands."""
    return (
        "SELECT i.run_id, n.cancel FROM jsonb_to_recordset(%s) AS i(run_id uuid, attempt int)"
        " CROSS JOIN LATERAL renew_run(i.run_id, i.attempt, %s::interval) AS n",
        [Jsonb([{"run_id": str(r), "attempt": a} for r, a in sorted(held)]), LEASE],
    )


def asked_to_cancel(held: Iterable[UUID]) -> Statement:
    """Those of the runs whose team wants them no more."""
    return (
        "SELECT id AS run_id FROM runs_run WHERE id = ANY(%s) AND cancel_requested_at IS NOT NULL",
        [list(held)],
    )


def report(told: Iterable[dict[str, Any]]) -> Statement:
    """Keep the progress of many attempts and renew them: run_id, cancel of those that stand.

    told: {run_id, attempt, stage, step, steps, preview}.
    """
    ordered = sorted(told, key=lambda item: str(item["run_id"]))
    return (
        "SELECT i.run_id, n.cancel FROM jsonb_to_recordset(%s) AS i(run_id uuid, attempt int,"
        " stage text, step int, steps int, preview text) CROSS JOIN LATERAL report_run("
        "i.run_id, i.attempt, %s::interval, i.stage, i.step, i.steps, i.preview) AS n",
        [Jsonb([item | {"run_id": str(item["run_id"])} for item in ordered]), LEASE],
    )


def keep_ticket(*, run: UUID, attempt: int, ticket: dict[str, Any]) -> Statement:
    """Keep the supplier's receipt: kept, False where the fence is lost."""
    return "SELECT keep_ticket(%s, %s, %s) AS kept", [run, attempt, Jsonb(ticket)]


def mark_submitting(*, run: UUID, attempt: int, key: str | None) -> Statement:
    """Write down that the job is about to be handed in under `key`, or surely was not (None):
    marked, False where the fence is lost."""
    return "SELECT mark_submitting(%s, %s, %s) AS marked", [run, attempt, key]


def hand_back(*, run: UUID, attempt: int, most: int = settings.MAX_ATTEMPTS) -> Statement:
    """Give one attempt up: run_id, exhausted. No row where it is no longer ours."""
    return "SELECT run_id, exhausted FROM requeue_runs(%s, %s, %s)", [run, attempt, most]


def held_by(*, queue: str, workers: str) -> Statement:
    """Running attempts of workers whose name begins so: run_id, attempt, worker."""
    return (
        "SELECT id AS run_id, attempt, worker FROM runs_run"
        " WHERE state = 'running' AND queue = %s AND starts_with(worker, %s)",
        [queue, workers],
    )


def take_back_lapsed() -> Statement:
    """Give up all attempts whose lease has passed: run_id, attempt, exhausted."""
    return (
        "SELECT run_id, attempt, exhausted FROM requeue_runs(NULL, 0, %s)",
        [settings.MAX_ATTEMPTS],
    )


def take_back_silent() -> Statement:
    """Give up the attempts of suppliers that are gone, before their leases pass: as above."""
    return (
        "SELECT run_id, attempt, exhausted FROM requeue_silent_runs(%s::interval, %s)",
        [REST, settings.MAX_ATTEMPTS],
    )
