"""Thousands of clients that wait for runs at one web process: its memory, its time, their delay.

Twenty-five wait for each run; the ends are spread over a third of a minute, as real ends are.

Example: python -m tests.load.waiting --clients 5000 --seconds 60 --out docs/benchmarks
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from tests.load.__main__ import facts, fund
from tests.running import Stack, running_stack

EACH = 25  # clients of a run
SPREAD = 20.0  # seconds from the first end to the last
TOGETHER = 50  # runs begun at once
TICKS = os.sysconf("SC_CLK_TCK")
MEASURED = 20.0  # seconds of quiet waiting that are looked at


@dataclass
class Seen:
    """delays: seconds from a run's commit to each client that heard of its end."""

    delays: list[float] = field(default_factory=list)
    waiting: int = 0
    faults: list[str] = field(default_factory=list)


async def hold(stack: Stack, clients: int, seconds: float) -> dict[str, Any]:
    """Half the clients follow events, half hold a request open; all hear of the end."""
    headers = {"Authorization": f"Bearer {stack.key}"}
    limits = aiohttp.TCPConnector(limit=0)
    patient = aiohttp.ClientTimeout(total=seconds + 120)
    async with aiohttp.ClientSession(
        stack.url, headers=headers, connector=limits, timeout=patient
    ) as session:
        many = max(1, clients // EACH)
        bodies = [body(number, seconds - SPREAD * (1 - number / many)) for number in range(many)]
        runs = [
            run
            for first in range(0, many, TOGETHER)
            for run in await asyncio.gather(
                *(begin(session, n, bodies[n]) for n in range(many)[first : first + TOGETHER])
            )
        ]
        seen = Seen()
        tasks = []
        for number in range(clients):
            of = number % many
            odd = number // many % 2
            heard = held(session, of, bodies[of], seen) if odd else follow(session, runs[of], seen)
            tasks.append(asyncio.ensure_future(heard))
            if number % 50 == 49:
                await asyncio.sleep(0.05)
        quiet = await watched(stack, seen, clients)
        await asyncio.gather(*tasks)
    return quiet | delays(seen)


def body(number: int, seconds: float) -> dict[str, Any]:
    asked = {"prompt": f"wait {number}", "size": "64x64", "latency_ms": int(seconds * 1000)}
    return {"model": "rehearsal/still", "inputs": asked}


async def begin(session: aiohttp.ClientSession, number: int, wish: dict[str, Any]) -> str:
    headers = {"Idempotency-Key": f"wait-{number}"}
    async with session.post("/api/v1/runs", json=wish, headers=headers) as answer:
        return str((await answer.json())["links"]["events"])


async def follow(session: aiohttp.ClientSession, events: str, seen: Seen) -> None:
    """By server-sent events."""
    seen.waiting += 1
    async with session.get(events) as answer:
        async for line in answer.content:
            if line.startswith(b"data:") and b'"finished_at":"' in line:
                note(seen, json.loads(line[5:]))
                return
    seen.faults.append("a stream ended before its run")


async def held(
    session: aiohttp.ClientSession, number: int, wish: dict[str, Any], seen: Seen
) -> None:
    """By asking for the same run again with `wait`."""
    seen.waiting += 1
    headers = {"Idempotency-Key": f"wait-{number}"}
    for _ in range(4):
        async with session.post("/api/v1/runs", json=wish | {"wait": 60}, headers=headers) as said:
            run = await said.json()
        if run.get("finished_at"):
            note(seen, run)
            return
    seen.faults.append(f"no end was told: {str(run)[:200]}")


def note(seen: Seen, run: dict[str, Any]) -> None:
    """The end is dated when its transaction began, so the commit itself counts as delay."""
    seen.delays.append(time.time() - datetime.fromisoformat(run["finished_at"]).timestamp())


async def watched(stack: Stack, seen: Seen, clients: int) -> dict[str, Any]:
    """What the web process takes while all of them wait and nothing happens."""
    while seen.waiting < clients:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    before = process(stack), commits(stack), time.monotonic()
    await asyncio.sleep(MEASURED)
    passed = time.monotonic() - before[2]
    (cpu, memory), commits_after = process(stack), commits(stack)
    return {
        "clients": clients,
        "web_cpu_percent": round(100 * (cpu - before[0][0]) / passed, 1),
        "web_rss_mb": round(memory / 1e6),
        "queries_per_second": round((commits_after - before[1]) / passed, 1),
    }


def process(stack: Stack) -> tuple[float, int]:
    """CPU seconds and resident bytes of the web process."""
    folder = Path(f"/proc/{stack.pids()['web']}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / TICKS, resident


def commits(stack: Stack) -> int:
    """Transactions of the database so far, those of everybody."""
    with psycopg.connect(stack.conninfo) as connection:
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def delays(seen: Seen) -> dict[str, Any]:
    assert not seen.faults, seen.faults[:3]
    found = sorted(seen.delays)
    return {
        "told": len(found),
        "p50_ms": round(statistics.median(found) * 1e3, 1),
        "p99_ms": round(found[int(len(found) * 0.99)] * 1e3, 1),
    }


@contextmanager
def stack_without_limits() -> Iterator[Stack]:
    with running_stack(KINORA_WRITES_PER_SECOND="0", KINORA_READS_PER_SECOND="0") as stack:
        fund(stack)
        yield stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.waiting")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=55, help="until the last end, at most 60")
    parser.add_argument("--out", type=Path, help="folder for the JSON file")
    options = parser.parse_args()
    with stack_without_limits() as stack:
        figures = asyncio.run(hold(stack, options.clients, options.seconds))
    report = facts() | {"figures": figures}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    if options.out:
        name = f"waiting-{report['date'][:10]}-{report['commit']}.json"
        (options.out / name).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
