"""Measure the ledger's functions beside what this machine's disk and cores allow.

A PostgreSQL of its own, durable commits, nothing else running: hold + capture for one team and for
many, one by one and in batches; plain updates by pgbench as the ceiling; single calls on a clock.

Example: python -m tests.load.ledger --seconds 10 --out docs/benchmarks
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from marketplace import ids
from marketplace.embedded.postgres import ROLE, Postgres, binary
from marketplace.embedded.supervisor import Supervisor
from tests.load import pairs
from tests.load.__main__ import facts
from tests.running import ROOT

PASSWORD = "load"
MANY = 10_000
ROWS = 100_000
CLIENTS = (1, 16, 32)
RATE = 200
CONNECTIONS = 16
BARS = {"batched pairs/s": 3_000, "single call p99 ms at 200/s": 25}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.ledger")
    parser.add_argument("--seconds", type=float, default=10, help="per measurement")
    parser.add_argument("--out", type=Path, help="folder for the JSON file and the table")
    options = parser.parse_args()
    report: dict[str, Any] = facts()
    with database() as conninfo:
        report["figures"] = measure(conninfo, options.seconds)
    sys.stdout.write(table(report))
    if options.out:
        name = f"ledger-{report['date'][:10]}-{report['commit']}"
        (options.out / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
        (options.out / f"{name}.md").write_text(table(report))


@contextmanager
def database() -> Iterator[str]:
    """A new cluster with our tables, as durable as a stack's."""
    data = Path(tempfile.mkdtemp(prefix="kinora-ledger-"))
    postgres = Postgres(data, PASSWORD)
    supervisor = Supervisor(data, say=lambda text: sys.stderr.write(f"{text}\n"))
    try:
        supervisor.start(postgres.program())
        supervisor.wait("postgres")
        settings = {"KINORA_DATA": str(data), "KINORA_SECRET_KEY": "x"}
        settings |= {"KINORA_DATABASE_PASSWORD": PASSWORD, "KINORA_LOG": "WARNING"}
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=os.environ | settings, check=True)
        yield make_conninfo(host=str(postgres.sockets), user=ROLE, dbname=ROLE, password=PASSWORD)
    finally:
        supervisor.stop()
        shutil.rmtree(data, ignore_errors=True)


def measure(conninfo: str, seconds: float) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "CREATE TABLE load_row (id int PRIMARY KEY, n bigint) WITH (fillfactor = 50)"
        )
        connection.execute(
            "INSERT INTO load_row SELECT n, 0 FROM generate_series(1, %s) AS n", [ROWS]
        )
    for said, last in (("one row", 1), (f"{ROWS:,} rows", ROWS)):
        for clients in CLIENTS:
            found[f"ceiling: update of {said}, {clients} clients"] = pgbench(
                conninfo, last, clients, seconds
            )
    for many in (1, MANY):
        teams = pairs.give_teams(conninfo, many)
        for batch, connections in ((1, 16), (50, 4)):
            plan = pairs.Plan(conninfo, teams, batch, seconds)
            row = pairs.measure(plan, connections)
            found[f"hold + capture: {many:,} team{'s' * (many > 1)}, {batch} a call"] = {
                "clients": connections,
                "per_second": row["pairs_per_second"],
                "p50_ms": row["batch_p50_ms"],
                "p99_ms": row["batch_p99_ms"],
            }
        found |= asyncio.run(on_a_clock(conninfo, teams, seconds))
    return found


def pgbench(conninfo: str, last: int, clients: int, seconds: float) -> dict[str, Any]:
    """Commits per second of one-row updates."""
    known = psycopg.conninfo.conninfo_to_dict(conninfo)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set id random(1, {last})\nUPDATE load_row SET n = n + 1 WHERE id = :id;\n")
        script.flush()
        command = [
            str(binary("pgbench")), "-n", "-M", "prepared", "-f", script.name, "-c", str(clients),
            "-j", str(min(clients, 2)), "-T", str(max(1, round(seconds))), "-h", str(known["host"]),
            "-U", ROLE, ROLE,
        ]  # fmt: skip
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    latency = re.search(r"latency average = ([\d.]+)", done.stdout)
    assert rate
    assert latency
    return {"clients": clients, "per_second": round(float(rate[1])), "mean_ms": float(latency[1])}


async def on_a_clock(conninfo: str, teams: list[str], seconds: float) -> dict[str, dict[str, Any]]:
    """Single holds and captures, `RATE` pairs a second whether or not those before have ended.

    A hold's time counts from when it was due, so that a stall is paid for by all that it delays.
    The connections are a server's: they have been used before.
    """
    connections: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        connections.put_nowait(await used_before(conninfo, teams[0]))
    holds: list[float] = []
    captures: list[float] = []

    async def pair(due: float, team: str) -> None:
        books = await connections.get()
        hold, close = one_pair(team)
        await books.execute("SELECT code FROM hold_money(%s::jsonb)", [hold])
        held = time.monotonic()
        await books.execute("SELECT state FROM close_holds(%s::jsonb)", [close])
        holds.append(held - due)
        captures.append(time.monotonic() - held)
        connections.put_nowait(books)

    begun, tasks = time.monotonic() + 0.1, []
    for number in range(round(RATE * seconds)):
        due = begun + number / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(pair(due, teams[number * 7919 % len(teams)])))
    await asyncio.gather(*tasks)
    took = time.monotonic() - begun
    while not connections.empty():
        await connections.get_nowait().close()
    said = f"{len(teams):,} team{'s' * (len(teams) > 1)}"
    return {
        f"single {name} on a clock: {said}": {
            "clients": RATE,
            "per_second": round(len(times) / took),
            "p50_ms": percentile(times, 0.5),
            "p99_ms": percentile(times, 0.99),
        }
        for name, times in (("hold", holds), ("capture", captures))
    }


async def used_before(conninfo: str, team: str) -> psycopg.AsyncConnection[Any]:
    """A connection that has its plans."""
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    for _ in range(6):
        hold, close = one_pair(team)
        await connection.execute("SELECT code FROM hold_money(%s::jsonb)", [hold])
        await connection.execute("SELECT state FROM close_holds(%s::jsonb)", [close])
    return connection


def one_pair(team: str) -> tuple[str, str]:
    run = str(ids.uuid7())
    want = {"run_id": run, "team_id": team, "currency": "USD", "price_id": 1}
    share = [{"account": "revenue:load", "amount": pairs.AMOUNT}]
    closing = {"run_id": run, "state": "captured", "amount": pairs.AMOUNT, "shares": share}
    return json.dumps([want | {"quoted": pairs.AMOUNT, "amount": pairs.AMOUNT}]), json.dumps(
        [closing]
    )


def percentile(times: list[float], share: float) -> float:
    return round(sorted(times)[min(int(len(times) * share), len(times) - 1)] * 1e3, 2)


def table(report: dict[str, Any]) -> str:
    """A Markdown table of all figures, one measurement a row."""
    bars = ", ".join(f"{what}: {bar:,}" for what, bar in BARS.items())
    lines = [
        f"Commit {report['commit']}, {report['date']}, {report['cores']} cores"
        f" (load {report['load_before']:.1f} before the start), durable commits, clients and"
        f" database on the same cores. Bars: {bars}.\n",
        "| what | in flight | per second | p50 ms | p99 ms |",
        "|---|---:|---:|---:|---:|",
    ]
    for what, row in report["figures"].items():
        middle = row.get("p50_ms", f"{row.get('mean_ms')} (mean)")
        shown = (row["clients"], f"{row['per_second']:,}", middle, row.get("p99_ms", ""))
        lines.append(f"| {what} | {' | '.join(map(str, shown))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
