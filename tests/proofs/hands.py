"""What one of many processes does to the shared books: psycopg only, so that it starts fast."""

import json
import random
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import psycopg

MODELS = ("rehearsal/still", "rehearsal/clip", "kinora/glyph")
SCOPES = ("[]", "[]", '["rehearsal"]', '["rehearsal/still"]')
Session = "psycopg.Connection[Any]"
# Runs of anybody, also closed ones: whoever comes second must find nothing to do.
NEAR = """
    SELECT run_id, amount, captured FROM ledger_hold
     WHERE run_id > %s ORDER BY run_id LIMIT %s"""
GRANT = """
    SELECT grant_money(%s, %s, 'promo', 'C', 'promo_funding:' || %s, 'USD', %s, %s::smallint,
                       clock_timestamp() + make_interval(secs => %s), '', %s::jsonb, %s)"""


@dataclass(frozen=True)
class Plan:
    """operations: how many each process makes; seed: its own is added to it."""

    conninfo: dict[str, Any]
    teams: list[str]
    operations: int
    seed: int


class Hand:
    """One process's connection and luck."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan, self.number = plan, number
        self.draw = random.Random(plan.seed + number)
        self.done: Counter[str] = Counter()

    def work(self) -> Counter[str]:
        doings = (
            [self.hold] * 6 + [self.close] * 6 + [self.refund] * 2
            + [self.grant, self.void_credit, self.expire, self.fold]
        )  # fmt: skip
        with psycopg.connect(**self.plan.conninfo, autocommit=True) as self.books:
            for _ in range(self.plan.operations):
                doing = self.draw.choice(doings)
                self.done[doing.__name__] += 1
                doing()
        return self.done

    def ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.books.execute(sql, values).fetchall()

    def near(self, many: int) -> list[tuple[Any, ...]]:
        return self.ask(NEAR, uuid.UUID(int=self.draw.getrandbits(128)), many)

    def hold(self) -> None:
        """A batch over several teams, within their budgets; each run twice now and then."""
        wants = []
        for _ in range(self.draw.randrange(1, 12)):
            amount = self.draw.randrange(0, 400)
            wants.append(
                {
                    "run_id": str(uuid.UUID(int=self.draw.getrandbits(128))),
                    "team_id": self.draw.choice(self.plan.teams), "currency": "USD",
                    "quoted": amount + 9, "amount": amount, "price_id": 1,
                    "model": self.draw.choice(MODELS),
                }
            )  # fmt: skip
        sql = "SELECT code FROM hold_within_budgets(%s::jsonb)"
        for (code,) in self.ask(sql, json.dumps(wants)):
            self.done[code] += 1

    def close(self) -> None:
        """Capture, void or review whatever is near, whoever held it, in any order."""
        closings = []
        for run, amount, _ in self.near(self.draw.randrange(1, 8)):
            state = self.draw.choice(["captured", "captured", "voided", "in_review", "expired"])
            taken = self.draw.randint(0, amount) if state == "captured" else 0
            lab = taken * 7 // 10
            shares = [("lab:rehearsal", lab), (f"revenue:{self.number % 3}", taken - lab)]
            listed = [{"account": name, "amount": n} for name, n in shares if n]
            closings.append({"run_id": str(run), "state": state, "amount": taken, "shares": listed})
        self.draw.shuffle(closings)
        for (state,) in self.ask("SELECT state FROM close_holds(%s::jsonb)", json.dumps(closings)):
            self.done[state] += 1

    def refund(self) -> None:
        """A part of something, by a reference that another process may use too."""
        for run, _, charged in self.near(3):
            amount = self.draw.randint(1, charged + 5)
            sql = "SELECT code FROM refund_run(%s, %s, %s, '')"
            [(code,)] = self.ask(sql, run, amount, f"refund:{run}:{self.draw.randrange(2)}")
            self.done[f"refund {code}"] += 1

    def grant(self) -> None:
        """Two hundred references among all: the first to come grants, the others find it."""
        which = self.draw.randrange(200)
        luck = random.Random(which)
        scope = luck.choice(SCOPES)
        self.ask(
            GRANT, f"grant:{which}", luck.choice(self.plan.teams), "kinora",
            luck.randrange(500, 9_000), luck.randrange(9, 11), luck.choice([0.5, 3, 60, 600]),
            scope, "kinora",
        )  # fmt: skip

    def void_credit(self) -> None:
        if self.draw.random() < 0.2:
            self.ask("SELECT taken FROM void_credit(%s, '')", f"grant:{self.draw.randrange(200)}")

    def expire(self) -> None:
        [(emptied,)] = self.ask("SELECT expire_credits()")
        self.done["credits emptied"] += emptied

    def fold(self) -> None:
        [(folded,)] = self.ask("SELECT fold_entries()")
        self.done["entries folded"] += folded


def hand(plan: Plan, number: int, answers: Any) -> None:
    try:
        answers.put(dict(Hand(plan, number).work()))
    except Exception as fault:
        answers.put(repr(fault))


@dataclass(frozen=True)
class Race:
    """Holds of `amount` each, in calls of one of `batches`, until `holds` were wanted."""

    conninfo: dict[str, Any]
    team: str
    holds: int
    amount: int
    batches: tuple[int, ...]
    limit: int
    begin: float


def racer(race: Race, number: int, answers: Any) -> None:
    """Want money as fast as one can; gives how many holds were admitted."""
    draw, left, admitted = random.Random(number), race.holds, 0
    with psycopg.connect(**race.conninfo, autocommit=True) as books:
        time.sleep(max(0.0, race.begin - time.time()))
        while left:
            size = min(left, draw.choice(race.batches))
            left -= size
            wants = [
                {
                    "run_id": str(uuid.uuid4()), "team_id": race.team, "currency": "USD",
                    "quoted": race.amount, "amount": race.amount, "price_id": 1,
                }
                for _ in range(size)
            ]  # fmt: skip
            rows = books.execute("SELECT code FROM hold_money(%s::jsonb)", [json.dumps(wants)])
            admitted += sum(code == "ok" for (code,) in rows.fetchall())
    answers.put(admitted)


def naive(race: Race, number: int, answers: Any) -> None:
    """The same by reading what was spent, deciding here, then recording: how it is often done."""
    admitted = 0
    with psycopg.connect(**race.conninfo, autocommit=True) as books:
        time.sleep(max(0.0, race.begin - time.time()))
        for _ in range(race.holds):
            row = books.execute("SELECT spent FROM proof_naive").fetchone()
            if row and row[0] + race.amount <= race.limit:
                books.execute("UPDATE proof_naive SET spent = spent + %s", [race.amount])
                admitted += 1
    answers.put(admitted)


def at_once(target: Any, plan: Any, processes: int) -> list[Any]:
    """What each of the processes answered. Raises what one of them could not do."""
    context = get_context("spawn")
    answers: Any = context.Queue()
    started = [
        context.Process(target=target, args=(plan, number, answers)) for number in range(processes)
    ]
    for process in started:
        process.start()
    found = [answers.get(timeout=900) for _ in started]
    for process in started:
        process.join()
    if faults := [each for each in found if isinstance(each, str)]:
        raise RuntimeError(f"{len(faults)} processes: {faults[0]}")
    return found
