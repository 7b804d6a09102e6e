"""Start a stack, measure it, stop it, and write the figures.

Example: python -m tests.load --seconds 10 --out docs/benchmarks
"""

import argparse
import asyncio
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.load import http, pairs
from tests.running import Stack, running_stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load")
    parser.add_argument("--seconds", type=float, default=10, help="per measurement")
    parser.add_argument("--clients", type=int, default=64, help="requests in flight")
    parser.add_argument("--out", type=Path, help="folder for the JSON file and the table")
    options = parser.parse_args()
    with running_stack(KINORA_WRITES_PER_SECOND="0", KINORA_READS_PER_SECOND="0") as stack:
        figures = measure(stack, options.seconds, options.clients)
    report = facts() | {"figures": figures}
    sys.stdout.write(table(report))
    if options.out:
        write(report, options.out)


def measure(stack: Stack, seconds: float, clients: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    fund(stack)

    def target(many: int) -> http.Target:
        return http.Target(stack.url, stack.key, many, seconds)

    found["status reads"] = asyncio.run(http.status_reads(target(clients)))
    found["complete runs, one client"] = asyncio.run(http.complete_runs(target(1)))
    found["dispatch: commit to claim, idle"] = dispatch(stack, seconds)
    found["complete runs"] = asyncio.run(http.complete_runs(target(clients)))
    with stopped(stack.pids()["supplier"]):
        found["admission, one client"] = asyncio.run(http.admissions(target(1)))
        found["admission"] = asyncio.run(http.admissions(target(clients)))
        for many in (1, 10_000):
            plan = pairs.Plan(stack.conninfo, pairs.give_teams(stack.conninfo, many), 50, seconds)
            found[f"hold + capture, {many:,} team{'s' * (many > 1)}"] = pairs.measure(plan, 4)
    return found


def dispatch(stack: Stack, seconds: float) -> dict[str, Any]:
    """How long the runs of the last `seconds` waited to be claimed."""
    with psycopg.connect(stack.conninfo) as connection:
        row = connection.execute(
            """SELECT count(*), percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP
                      (ORDER BY extract(epoch FROM started_at - created_at) * 1000)
                 FROM runs_run WHERE created_at > now() - make_interval(secs => %s)""",
            [seconds],
        ).fetchone()
    assert row is not None
    count, (p50, p99) = row
    return {
        "clients": 1,
        "per_second": round(count / seconds),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
    }


def fund(stack: Stack) -> None:
    """Give the demo team money for as many runs as a machine can do."""
    with psycopg.connect(stack.conninfo) as connection:
        connection.execute(
            "SELECT grant_money('load:credit', k.team_id, 'promo', 'Load', 'promo_funding:kinora',"
            " 'USD', 1000000000000000, 5::smallint, NULL, '')"
            " FROM accounts_apikey k WHERE prefix = %s",
            [stack.key[:15]],
        )


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process still, so that what it would do is not measured along."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def facts() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "processor": platform.machine(),
    }


def table(report: dict[str, Any]) -> str:
    """A Markdown table of all figures, one measurement a row."""
    lines = [
        f"Commit {report['commit']}, {report['date']}, {report['cores']} cores"
        f" (load {report['load_before']:.1f} before the start), durable commits, client, servers"
        " and database on the same cores.\n",
        "| what | in flight | per second | p50 ms | p99 ms |",
        "|---|---:|---:|---:|---:|",
    ]
    for what, row in report["figures"].items():
        many = row.get("clients") or f"{row['connections']} × {row['batch']}"
        rate = row.get("per_second") or row["pairs_per_second"]
        p50, p99 = (row.get(f"{p}_ms") or row[f"batch_{p}_ms"] for p in ("p50", "p99"))
        lines.append(f"| {what} | {many} | {rate:,} | {p50} | {p99} |")
    return "\n".join(lines) + "\n"


def write(report: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"load-{report['date'][:10]}-{report['commit']}"
    (folder / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / f"{name}.md").write_text(table(report))


if __name__ == "__main__":
    main()
