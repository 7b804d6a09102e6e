"""How labs do: told by suppliers, read by routing (`claim.sql`) and by the console.

A lab that is down is still called, by one at a time, until its release's time limit; what routing
keeps with the run says why it waited.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from psycopg.types.json import Jsonb

from marketplace.runs.connections import Row, Statement, rows
from marketplace.runs.execute import Work
from partners.adapter import Adapter

TELL_SQL = """
    INSERT INTO runs_labhealth AS h (lab, worker, state, why, since, in_hand, asked, lateness,
                                     seen_at)
    SELECT i.lab, i.worker, i.state, i.why, now(), i.in_hand, i.asked, i.lateness, now()
      FROM jsonb_to_recordset(%s) AS i(lab text, worker text, state text, why text, in_hand int,
                                       asked bigint, lateness float)
    ON CONFLICT (lab, worker) DO UPDATE
       SET state = excluded.state, why = excluded.why, in_hand = excluded.in_hand,
           asked = excluded.asked, lateness = excluded.lateness, seen_at = now(),
           since = CASE WHEN h.state = excluded.state THEN h.since ELSE now() END
    RETURNING lab"""
SEEN_SQL = """
    SELECT lab, worker, state, why, since, in_hand, asked, lateness FROM runs_labhealth
     WHERE seen_at > now() - interval '30 s' ORDER BY state = 'open', lab, worker"""
OLD_SQL = "DELETE FROM runs_labhealth WHERE seen_at < now() - interval '1 h' RETURNING lab"


def of(
    worker: str, adapters: Mapping[str, Adapter], works: Iterable[Work], wrong: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for each lab that this process knows. What was late is told once."""
    held: Counter[str] = Counter()
    late: dict[str, float] = {}
    for work in works:
        lab = work.case.adapter
        held[lab] += 1
        late[lab] = max(late.get(lab, 0.0), work.lateness)
        work.lateness = 0.0
    return [
        {
            "lab": lab,
            "worker": worker,
            "in_hand": held[lab],
            "asked": adapter.asks,
            "lateness": round(late.get(lab, 0.0), 4),
        }
        | state_of(adapter, wrong.get(lab, ""))
        for lab, adapter in adapters.items()
    ]


def state_of(adapter: Adapter, wrong: str) -> dict[str, str]:
    if adapter.trouble or wrong:
        return {"state": "denied", "why": (wrong or adapter.trouble)[:200]}
    return {"state": adapter.health, "why": ""}


def telling(said: list[dict[str, Any]]) -> Statement:
    return TELL_SQL, [Jsonb(said)]


def seen() -> list[Row]:
    """What suppliers told in the last moments, trouble first."""
    return rows((SEEN_SQL, []))


def forget_old() -> int:
    """Forget what processes told that are long gone."""
    return len(rows((OLD_SQL, [])))
