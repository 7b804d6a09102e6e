"""A run as the native API shows it, from one query over all that belongs to it.

The query gives one text column of JSON, so that Django's connection and the hot path's own read
it alike. Callers check the team before they show anything.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from marketplace import ids
from marketplace.media import files, sign
from marketplace.metering.file_inputs import replaced
from marketplace.metering.quote import priced_lines, total
from marketplace.money import Money
from marketplace.runs.models import Output

Row = Mapping[str, Any]

# Put a WHERE (and ORDER BY, LIMIT) over `r` where it says {where}. A model that has become a secret
# to the team, which made this while it was not, is not named.
RUN_SQL = """
SELECT row_to_json(v)::text FROM (
    SELECT r.id, r.team_id, e.version AS release,
           CASE WHEN a.decision = 'hidden' THEN 'withheld/withheld'
                ELSE l.slug || '/' || m.slug END AS model,
           e.output_kind, r.state,
           r.outcome, r.inputs, r.files, r.created_at, r.started_at, r.finished_at,
           extract(epoch FROM coalesce(r.started_at, r.finished_at, now()) - r.created_at)::float8
               AS waiting_seconds,
           extract(epoch FROM coalesce(r.finished_at, now()) - r.started_at)::float8
               AS running_seconds,
           r.key_id IS NULL AS by_hand, r.project, r.end_user, r.attempt, r.route,
           r.queue, r.worker, r.error, r.checks, r.cancel_requested_at, r.cancel_at, r.webhooks,
           h.state AS hold_state, h.currency, h.quoted, h.amount AS held, h.captured,
           h.available_before, p.version AS price_version, p.lines AS price_lines,
           p.segment AS price_segment, p.digest AS price_digest,
           CASE WHEN g.run_id IS NOT NULL AND r.state = 'running' THEN json_build_object(
                'stage', g.stage, 'step', g.step, 'steps', g.steps, 'preview', g.preview)
           END AS progress,
           CASE WHEN s.run_id IS NOT NULL THEN json_build_object(
                'seconds', round(extract(epoch FROM
                    coalesce(s.closed_at, s.seen_at) - s.opened_at), 6)::text,
                'frames', s.frames, 'reason', s.reason)
           END AS session,
           (SELECT json_agg(json_build_object(
                       'unit', u.unit, 'requested', trim_scale(u.requested)::text,
                       'reported', trim_scale(u.reported)::text,
                       'measured', trim_scale(u.measured)::text,
                       'charged', trim_scale(u.quantity)::text) ORDER BY u.unit)
              FROM metering_meterevent u WHERE u.run_id = r.id) AS usage,
           (SELECT json_agg(json_build_object(
                       'id', o.id, 'kind', o.kind, 'content_type', o.content_type,
                       'path', o.path, 'expires_at', o.expires_at, 'bytes', o.bytes,
                       'sha256', encode(o.sha256, 'hex'), 'width', o.width,
                       'height', o.height, 'frames', o.frames, 'seconds', o.seconds::float8,
                       'sound', o.sound) ORDER BY o.position)
              FROM runs_output o WHERE o.run_id = r.id) AS outputs
      FROM runs_run r
      JOIN catalog_release e ON e.id = r.release_id
      JOIN catalog_model m ON m.id = e.model_id
      JOIN catalog_lab l ON l.id = m.lab_id
      JOIN metering_price p ON p.id = r.price_id
      LEFT JOIN accounts_apikey k ON k.id = r.key_id
     CROSS JOIN LATERAL release_access(
           e.id, r.team_id, coalesce(r.user_id, k.created_by_id)) AS a
      LEFT JOIN ledger_hold h ON h.run_id = r.id
      LEFT JOIN runs_session s ON s.run_id = r.id
      LEFT JOIN runs_progress g ON g.run_id = r.id AND g.attempt = r.attempt
     {where}) v
"""
MANY_RUNS_SQL = RUN_SQL.format(where="WHERE r.id = ANY(%s)")
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


def as_json(row: Row) -> dict[str, Any]:
    """The run object of the native API."""
    run = ids.public("run", UUID(row["id"]))
    route = row["route"]
    return {
        "id": run,
        "model": row["model"],
        "release": row["release"],
        "state": row["state"],
        "outcome": row["outcome"],
        "inputs": inputs(row),
        "project": row["project"] or None,
        "end_user": row["end_user"] or None,
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "waiting_seconds": rounded(row["waiting_seconds"]),
        "running_seconds": rounded(row["running_seconds"]),
        "attempts": row["attempt"],
        "progress": progress(row["progress"]),
        "route": {
            "supplier": route.get("supplier"),
            "queue": row["queue"],
            "worker": row["worker"] or route.get("worker"),
            "reason": route.get("reason"),
        },
        "cost": cost(row),
        "session": session(row),
        "usage": row["usage"] or [],
        "checks": row["checks"] or [],
        "outputs": [output(o) for o in row["outputs"] or []],
        "error": error(row["error"]),
        "links": links(run),
    }


def inputs(row: Row) -> dict[str, Any]:
    """What was asked for, with addresses where the run has files."""
    named = {place: files.url(UUID(file_id)) for place, file_id in row["files"].items()}
    return replaced(row["inputs"], named)


def links(run: str) -> dict[str, str]:
    base = f"/api/v1/runs/{run}"
    return {
        "self": base,
        "events": f"{base}/events",
        "cancel": f"{base}/cancel",
        "receipt": f"{base}/receipt",
    }


def cost(row: Row) -> dict[str, Any]:
    """What was promised, set aside, taken and given back. given_back is 0 while a hold is open."""
    state, currency = row["hold_state"], row["currency"] or "USD"
    held, captured = row["held"] or 0, row["captured"] or 0
    closed = state in ("captured", "voided")
    amounts = {
        "quoted": row["quoted"] or 0,
        "held": held,
        "captured": captured,
        "given_back": held - captured if closed else 0,
    }
    return {
        "state": state,
        "price_version": row["price_version"],
        **{name: Money(amount, currency).as_json() for name, amount in amounts.items()},
    }


def session(row: Row) -> dict[str, Any] | None:
    """What a realtime session has come to, as it was witnessed last or as it ended."""
    if not (found := row.get("session")):
        return None
    currency, seconds = row["currency"] or "USD", Decimal(found["seconds"])
    spent = row["captured"] or 0
    if row["hold_state"] == "open":
        at = datetime.fromisoformat(row["created_at"])
        lines = priced_lines(row["price_lines"], {"session_second": seconds}, {}, at)
        spent = min(row["held"], total(lines))
    return {
        "seconds": float(seconds),
        "frames": found["frames"],
        "cost": Money(spent, currency).as_json(),
        "ended": found["reason"] or None,
    }


def output(row: Row) -> dict[str, Any]:
    """An output with a fresh signed address, or none once it has expired."""
    url, until = address(row)
    return {
        "id": ids.public("out", UUID(row["id"])),
        "kind": row["kind"],
        "content_type": row["content_type"],
        "url": url,
        "url_expires_at": until,
        "expires_at": row["expires_at"],
        "bytes": row["bytes"],
        "sha256": row["sha256"],
        "width": row["width"],
        "height": row["height"],
        "frames": row["frames"],
        "seconds": row["seconds"],
        "sound": row["sound"],
    }


def address(row: Row) -> tuple[str | None, datetime | None]:
    expires_at = datetime.fromisoformat(row["expires_at"])
    if expires_at <= datetime.now(UTC):
        return None, None
    stored = Output(
        id=UUID(row["id"]),
        path=row["path"],
        content_type=row["content_type"],
        expires_at=expires_at,
    )
    return sign.download_url(stored)


def progress(row: Row | None) -> dict[str, Any] | None:
    return {**row, "preview": row["preview"] or None} if row else None


def error(row: Row | None) -> dict[str, Any] | None:
    return {"code": row.get("code"), "message": row.get("message")} if row else None


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def read(text: str) -> dict[str, Any]:
    """A row of RUN_SQL."""
    row: dict[str, Any] = orjson.loads(text)
    return row
