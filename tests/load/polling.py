"""Thousands of jobs in flight at labs that answer and one that hangs, at one supplier process.

How late each job is asked after is what the supplier itself tells of every question: the worst in
each two seconds, as a share of that job's interval.

Example: python -m tests.load.polling --jobs 2000 --seconds 40 --out docs/benchmarks
"""

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.contract.counterfeit import Counterfeit
from tests.contract.test_labs import shape_of
from tests.lab import open_lab
from tests.load.__main__ import facts, fund
from tests.running import Stack, running_stack

SHARES = {"luma": 0.5, "seedance": 0.45, "runway": 0.05}  # of the jobs
HANGS = "runway"
AT_ONCE = 32
PATIENCE = 600.0
TICKS = os.sysconf("SC_CLK_TCK")
FILM = {"prompt": "dusk", "seconds": 2, "fps": 12, "resolution": "180p", "sound": False}
UNDER_WAY = "SELECT count(*) FROM runs_run WHERE ticket IS NOT NULL AND finished_at IS NULL"
UNENDED = """
    SELECT count(*) FROM runs_run r JOIN catalog_release l ON l.id = r.release_id
     WHERE r.finished_at IS NULL AND l.adapter <> %s"""
LATENESS = "SELECT lab, lateness, asked FROM runs_labhealth WHERE seen_at > now() - interval '9 s'"


def put_on_sale(stack: Stack, lab: str) -> None:
    """A copy of the rehearsal lab's clip, made by another."""
    with psycopg.connect(stack.conninfo, row_factory=dict_row) as connection:
        [found] = connection.execute(
            "SELECT l.id, l.model_id FROM catalog_release l JOIN catalog_model m"
            " ON m.id = l.model_id WHERE m.slug = 'clip' AND l.adapter = 'rehearsal'"
        ).fetchall()
        model = copied(connection, "catalog_model", "id", found["model_id"], slug=f"of-{lab}")
        release = copied(
            connection, "catalog_release", "id", found["id"],
            model_id=model, adapter=lab, target="model-1", timeout_seconds=int(PATIENCE),
        )  # fmt: skip
        for table in ("metering_price", "metering_tariff"):
            copied(connection, table, "release_id", found["id"], release_id=release)


def copied(
    connection: psycopg.Connection[dict[str, Any]],
    table: str,
    by: str,
    value: int,
    **changes: Any,
) -> int:
    """The id of a new row like the first one found."""
    row = connection.execute(
        f"SELECT * FROM {table} WHERE {by} = %s ORDER BY id LIMIT 1",
        [value],
    ).fetchone()
    assert row is not None
    row = {name: value for name, value in (row | changes).items() if name != "id"}
    values = [Jsonb(each) if isinstance(each, dict | list) else each for each in row.values()]
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    made = connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id",
        values,
    ).fetchone()
    assert made is not None
    return int(made["id"])


async def submit(stack: Stack, jobs: int) -> None:
    """Hand all runs in, so many at once."""
    wishes = [lab for lab, share in SHARES.items() for _ in range(round(jobs * share))]
    room = asyncio.Semaphore(AT_ONCE)
    headers = {"Authorization": f"Bearer {stack.key}"}
    async with aiohttp.ClientSession(stack.url, headers=headers) as session:

        async def one(lab: str) -> None:
            body = {"model": f"rehearsal/of-{lab}", "inputs": FILM}
            async with room, session.post("/api/v1/runs", json=body) as answer:
                assert answer.status in (200, 201, 202), await answer.text()

        for lab in SHARES:  # what is on sale is known to the web process within two seconds
            await until_known(session, lab)
        await asyncio.gather(*(one(lab) for lab in wishes))


async def until_known(session: aiohttp.ClientSession, lab: str) -> None:
    end = time.monotonic() + 30
    body = {"model": f"rehearsal/of-{lab}", "inputs": FILM}
    while time.monotonic() < end:
        async with session.post("/api/v1/quotes", json=body) as answer:
            if answer.status in (200, 201):
                return
        await asyncio.sleep(0.5)
    raise AssertionError(f"nothing of {lab} is on sale")


def counted(stack: Stack, sql: str, *values: Any) -> int:
    with psycopg.connect(stack.conninfo) as connection:
        row = connection.execute(sql, values).fetchone()
    assert row is not None
    return int(row[0])


def until(stack: Stack, enough: int, sql: str, *values: Any) -> float:
    """Seconds until the count is `enough`."""
    began = time.monotonic()
    while (found := counted(stack, sql, *values)) != enough:
        assert time.monotonic() - began < PATIENCE, f"{found}, not {enough}"
        time.sleep(0.5)
    return time.monotonic() - began


def process(stack: Stack) -> tuple[float, int]:
    """CPU seconds and resident bytes of the supplier."""
    folder = Path(f"/proc/{stack.pids()['supplier']}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / TICKS, resident


def watched(stack: Stack, seconds: float) -> dict[str, Any]:
    """What the supplier takes, and how late it asks, while all jobs are under way."""
    worst: dict[str, float] = {}
    before, began = process(stack), time.monotonic()
    first = {row["lab"]: row["asked"] for row in told(stack)}
    while time.monotonic() < began + seconds:
        time.sleep(1)
        for row in told(stack):
            worst[row["lab"]] = max(worst.get(row["lab"], 0.0), row["lateness"])
    passed, after = time.monotonic() - began, process(stack)
    asked = {row["lab"]: row["asked"] - first.get(row["lab"], 0) for row in told(stack)}
    return {
        "supplier_cpu_percent": round(100 * (after[0] - before[0]) / passed, 1),
        "supplier_rss_mb": round(after[1] / 1e6),
        "questions_per_second": {lab: round(n / passed, 1) for lab, n in asked.items()},
        "asked_at_most_after": {lab: round(1 + late, 3) for lab, late in worst.items()},
    }


def told(stack: Stack) -> list[dict[str, Any]]:
    with psycopg.connect(stack.conninfo, row_factory=dict_row) as connection:
        return connection.execute(LATENESS).fetchall()


def measure(jobs: int, seconds: float) -> dict[str, Any]:
    labs = {lab: Counterfeit(shape_of(lab)) for lab in SHARES}
    for name, lab in labs.items():
        lab.to_questions = ("hang",) if name == HANGS else ("running",)
    with ExitStack() as opened:
        urls: dict[str, Any] = {"KINORA_WRITES_PER_SECOND": "0", "KINORA_READS_PER_SECOND": "0"}
        for name, lab in labs.items():
            lab.url = opened.enter_context(open_lab(lab.application())).url
            urls[f"KINORA_{name.upper()}_URL"] = lab.url
        stack = opened.enter_context(running_stack(PATIENCE, **urls))
        fund(stack)
        for name in SHARES:
            put_on_sale(stack, name)
        asyncio.run(submit(stack, jobs))
        handed_in = until(stack, jobs, UNDER_WAY)
        time.sleep(34)  # until most jobs are old enough for the longest interval
        found = {"jobs": jobs, "claimed_and_handed_in_s": round(handed_in, 1)}
        found |= watched(stack, seconds)
        for name, lab in labs.items():
            lab.to_questions = ("hang",) if name == HANGS else ("failed",)
        found["all_ended_s"] = round(until(stack, 0, UNENDED, HANGS), 1)
        found["posts"] = sum(lab.posts for lab in labs.values())
    return found


def table(report: dict[str, Any]) -> str:
    found = report["figures"]
    lines = [
        f"Commit {report['commit']}, {report['date']}, {report['cores']} cores"
        f" (load {report['load_before']:.1f} before the start); labs, stack and database on the"
        f" same cores. {found['jobs']:,} jobs under way, {SHARES[HANGS]:.0%} of them at a lab"
        " that hangs.\n",
        "| what | |",
        "|---|---:|",
        f"| supplier, CPU of one core | {found['supplier_cpu_percent']} % |",
        f"| supplier, memory | {found['supplier_rss_mb']} MB |",
    ]
    for lab, rate in found["questions_per_second"].items():
        late = found["asked_at_most_after"].get(lab)
        words = f"{lab}{' (hangs)' if lab == HANGS else ''}"
        lines.append(f"| {words}: questions a second; asked after at most | {rate}; {late} × |")
    lines.append(f"| from the labs' end to the last settlement | {found['all_ended_s']} s |")
    lines.append(f"| jobs handed in | {found['posts']:,} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.polling")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=40, help="that are watched")
    parser.add_argument("--out", type=Path, help="folder for the JSON file and the table")
    options = parser.parse_args()
    report = facts()
    report["figures"] = measure(options.jobs, options.seconds)
    sys.stdout.write(table(report))
    if options.out:
        name = f"polling-{report['date'][:10]}-{report['commit']}"
        (options.out / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
        (options.out / f"{name}.md").write_text(table(report))


if __name__ == "__main__":
    main()
