"""Measure usage, run list and receipt over HTTP, first beside few runs, then beside millions.

Example: python -m tests.load.usage --runs 10000000 --out docs/benchmarks

A stack of its own is filled with a year of runs of 10,000 teams and 1,000 releases; one team has a
fiftieth of them, another a thousand. Its folder is removed afterwards, unless it was named: then
it is filled once and measured as often as one likes.
"""

import argparse
import http.client
import json
import re
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg

from marketplace import ids
from tests.load.__main__ import facts, stopped
from tests.load.history import Teams, shop, write
from tests.load.pairs import give_teams
from tests.running import Stack, running_stack

FEW = 1_000
BAR_MS, RATIO = 100, 1.5
CHORES = ("chores", "beat")


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.usage")
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--teams", type=int, default=10_000)
    parser.add_argument("--releases", type=int, default=1_000)
    parser.add_argument("--times", type=int, default=100, help="requests per figure")
    parser.add_argument("--data", type=Path, help="folder to keep the many runs in")
    parser.add_argument("--out", type=Path, help="folder for the JSON file and the table")
    options = parser.parse_args()
    if options.data:
        options.data.mkdir(parents=True, exist_ok=True)
    many = History(options.runs, options.teams, options.releases)
    found: dict[str, Any] = facts() | {"runs": options.runs}
    with running_stack(data=options.data, keep=bool(options.data)) as stack:
        found["many"] = filled(stack, many) | {"figures": figures(stack, options.times)}
    with running_stack() as stack:
        found["few"] = filled(stack, History(FEW, 100, 20)) | {
            "figures": figures(stack, options.times)
        }
    sys.stdout.write(table(found))
    if options.out:
        name = options.out / f"usage-{found['date'][:10]}-{found['commit']}"
        name.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
        name.with_suffix(".md").write_text(table(found))


@dataclass(frozen=True)
class History:
    """How much a stack is filled with."""

    runs: int
    teams: int
    releases: int


def filled(stack: Stack, history: History) -> dict[str, Any]:
    """Make the history and fold it, unless the stack's folder says that this was done."""
    note = stack.data / "filled.json"
    if note.exists():
        said: dict[str, Any] = json.loads(note.read_text())
        return said
    with psycopg.connect(stack.conninfo) as connection:
        with stopped(stack.pids()["chores"]):
            give_teams(stack.conninfo, history.teams)
            shop(connection, history.releases)
            write(connection, people(connection, stack), history.runs, say)
            start = time.monotonic()
            connection.execute("SELECT fold_usage()")
            connection.commit()
            folded = time.monotonic() - start
            say(f"{folded:7.1f} s  fold of {history.runs:,} runs")
            connection.autocommit = True
            connection.execute("VACUUM (ANALYZE) runs_usageday")
        sizes = connection.execute(
            "SELECT pg_database_size(current_database()), (SELECT count(*) FROM runs_usageday)"
        ).fetchone()
    assert sizes
    said = {"fold_seconds": round(folded, 1), "database_gb": round(sizes[0] / 1e9, 2)}
    note.write_text(json.dumps(said | {"usage_rows": sizes[1]}))
    return said | {"usage_rows": sizes[1]}


def people(connection: psycopg.Connection, stack: Stack) -> Teams:
    """The demo team is the large one, the other the middle one."""

    def team(key: str) -> str:
        row = connection.execute(
            "SELECT team_id FROM accounts_apikey WHERE prefix = %s", [key[:15]]
        ).fetchone()
        assert row
        return str(row[0])

    large = team(stack.key)
    keys = connection.execute(
        """INSERT INTO accounts_apikey (id, team_id, name, prefix, digest, scopes, created_at)
           SELECT gen_random_uuid(), %s, 'Key ' || g, 'kin_live_many', sha256(('many' || g)::bytea),
                  '["read"]', now() FROM generate_series(1, 5) g RETURNING id""",
        [large],
    ).fetchall()
    account = connection.execute(
        "SELECT min(id) FROM ledger_account WHERE team_id = %s", [large]
    ).fetchone()
    assert account
    return Teams(large, team(stack.other_key), [str(key) for (key,) in keys], account[0])


# ── measuring ─────────────────────────────────────────────────────────────────────────────────


class Visitor:
    """One connection that is kept, as a browser or a client keeps it."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.link = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        self.headers = dict(headers)

    def send(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes, Any]:
        """A connection that the server has closed while it was quiet is opened again."""
        try:
            return self.asked(method, path, body)
        except (http.client.RemoteDisconnected, BrokenPipeError):
            self.link.close()
            return self.asked(method, path, body)

    def asked(self, method: str, path: str, body: str | None) -> tuple[int, bytes, Any]:
        self.link.request(method, path, body, self.headers)
        answer = self.link.getresponse()
        return answer.status, answer.read(), answer.headers

    def log_in(self, email: str, password: str) -> None:
        _, page, headers = self.send("GET", "/account/login/")
        token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        self.keep(headers)
        self.headers["Content-Type"] = "application/x-www-form-urlencoded"
        form = {"csrfmiddlewaretoken": token[1].decode(), "login": email, "password": password}
        status, _, headers = self.send("POST", "/account/login/", urlencode(form))
        assert status == 302, status
        del self.headers["Content-Type"]
        self.keep(headers)

    def keep(self, headers: Any) -> None:
        found = [line.partition(";")[0] for line in headers.get_all("Set-Cookie", [])]
        self.headers["Cookie"] = "; ".join(filter(None, [self.headers.get("Cookie"), *found]))

    def waits(self, path: str, times: int) -> dict[str, Any]:
        waits = []
        for _ in range(times + 3):  # the first three warm caches and plans
            start = time.perf_counter()
            status, body, _ = self.send("GET", path)
            waits.append(time.perf_counter() - start)
            assert status == 200, (path, status, body[:300])
        waits = sorted(waits[3:])
        return {
            "p50_ms": round(statistics.median(waits) * 1e3, 1),
            "p99_ms": round(waits[int(len(waits) * 0.99)] * 1e3, 1),
            "bytes": len(body),
        }


def figures(stack: Stack, times: int) -> dict[str, Any]:
    """Of the middle team and the large one: pages with a session, the API with a key."""
    found: dict[str, Any] = {}
    with psycopg.connect(stack.conninfo) as connection:
        newest_runs = [newest(connection, key) for key in (stack.other_key, stack.key)]
    logins = json.loads((stack.data / "demo.json").read_text())["logins"]
    for name, key, login, run in (
        ("a team of 1,000 runs", stack.other_key, logins[1], newest_runs[0]),
        ("the large team", stack.key, logins[0], newest_runs[1]),
    ):
        page = Visitor(stack.url, {})
        page.log_in(login["email"], login["password"])
        client = Visitor(stack.url, {"Authorization": f"Bearer {key}"})
        year = datetime.now(UTC).date() - timedelta(days=364)
        for what, visitor, path in (
            ("usage page, 30 days", page, "/usage"),
            ("usage page, a year", page, f"/usage?from={year}"),
            ("API usage by day", client, "/api/v1/usage"),
            ("API usage by key and project", client, "/api/v1/usage?group_by=key,project"),
            ("run list page", page, "/runs"),
            ("API run list", client, "/api/v1/runs"),
            ("API run", client, f"/api/v1/runs/{run}"),
            ("API receipt", client, f"/api/v1/runs/{run}/receipt"),
            ("balance page", page, "/balance"),
        ):
            found[f"{what}, {name}"] = visitor.waits(path, times)
            say(f"{what}, {name}: {found[f'{what}, {name}']}")
    return found


def newest(connection: psycopg.Connection, key: str) -> str:
    row = connection.execute(
        """SELECT r.id FROM runs_run r JOIN accounts_apikey k ON k.team_id = r.team_id
            WHERE k.prefix = %s AND r.state = 'succeeded' ORDER BY r.id DESC LIMIT 1""",
        [key[:15]],
    ).fetchone()
    assert row
    return ids.public("run", row[0])


def table(found: Mapping[str, Any]) -> str:
    """A Markdown table: p50 and p99 beside few and many runs, and their ratio."""
    few, many = found["few"], found["many"]
    lines = [
        f"Commit {found['commit']}, {found['date']}, {found['cores']} cores (load"
        f" {found['load_before']:.1f} before the start), client, servers and database on the same"
        f" cores. {found['runs']:,} runs of a year beside {FEW:,}; {many['database_gb']} GB,"
        f" {many['usage_rows']:,} rows of usage, folded from nothing in {many['fold_seconds']} s."
        f" One client; bars: usage page ≤ {BAR_MS} ms, {RATIO} × of p50 beside {FEW:,} runs.\n",
        f"| what | p50 ms, {FEW:,} runs | p50 ms, {found['runs']:,} | p99 ms | ratio of p50 |",
        "|---|---:|---:|---:|---:|",
    ]
    for what, row in many["figures"].items():
        before = few["figures"][what]["p50_ms"]
        lines.append(
            f"| {what} | {before} | {row['p50_ms']} | {row['p99_ms']}"
            f" | {row['p50_ms'] / before:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
