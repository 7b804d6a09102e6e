"""Hold + capture pairs per second, straight at the SQL functions, batched as the web batches.

Each pair is two commits shared by a batch: hold_money, then close_holds.
"""

import json
import multiprocessing
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from marketplace import ids

AMOUNT = 1_000


@dataclass(frozen=True)
class Plan:
    """teams: UUIDs as text, drawn from at random; batch: pairs per call."""

    conninfo: str
    teams: list[str]
    batch: int
    seconds: float


def give_teams(conninfo: str, count: int) -> list[str]:
    """Make `count` funded teams in one statement each for teams and credits."""
    teams = [str(ids.uuid7()) for _ in range(count)]
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "INSERT INTO accounts_team (id, name, status, created_at)"
            " SELECT t, 'Load', 'active', now() FROM unnest(%s::uuid[]) t",
            [teams],
        )
        connection.execute(
            "SELECT grant_money('load:' || t, t, 'promo', 'Load', 'promo_funding:kinora', 'USD',"
            " 1000000000000, 10::smallint, NULL, '') FROM unnest(%s::uuid[]) t",
            [teams],
        )
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE")
    return teams


def one_batch(connection: psycopg.Connection, plan: Plan, draw: random.Random) -> int:
    runs = [str(ids.uuid7()) for _ in range(plan.batch)]
    wants = [
        {
            "run_id": run,
            "team_id": draw.choice(plan.teams),
            "currency": "USD",
            "quoted": AMOUNT,
            "amount": AMOUNT,
            "price_id": 1,
        }
        for run in runs
    ]
    answers = connection.execute("SELECT code FROM hold_money(%s)", [json.dumps(wants)]).fetchall()
    connection.commit()
    share = [{"account": "revenue:load", "amount": AMOUNT}]
    closings = [
        {"run_id": run, "state": "captured", "amount": AMOUNT, "shares": share} for run in runs
    ]
    closed = connection.execute("SELECT state FROM close_holds(%s)", [json.dumps(closings)])
    done = len(closed.fetchall())
    connection.commit()
    if done != plan.batch or any(code != "ok" for (code,) in answers):
        raise RuntimeError("a pair was refused")
    return done


def worker(
    plan: Plan, seed: int, results: "multiprocessing.Queue[tuple[int, list[float]]]"
) -> None:
    draw, done, waits = random.Random(seed), 0, []
    with psycopg.connect(plan.conninfo) as connection:
        until = time.monotonic() + plan.seconds
        while time.monotonic() < until:
            start = time.monotonic()
            done += one_batch(connection, plan, draw)
            waits.append(time.monotonic() - start)
    results.put((done, waits))


def measure(plan: Plan, processes: int) -> dict[str, Any]:
    """Pairs/s and the time of a batch's two commits, over `processes` connections."""
    results: multiprocessing.Queue[tuple[int, list[float]]] = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=worker, args=(plan, seed, results))
        for seed in range(processes)
    ]
    for each in workers:
        each.start()
    counted = [results.get(timeout=plan.seconds + 60) for _ in workers]
    for each in workers:
        each.join()
    waits = sorted(wait for _, each in counted for wait in each)
    return {
        "teams": len(plan.teams),
        "batch": plan.batch,
        "connections": processes,
        "pairs_per_second": round(sum(done for done, _ in counted) / plan.seconds),
        "batch_p50_ms": round(statistics.median(waits) * 1e3, 1),
        "batch_p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 1),
    }
