"""A state machine that drives the ledger's functions against plain Python that counts along.

It predicts every answer, every credit's balance and the budget's, to the nano-unit (L1-L7, L10,
L12, L14-L16, L18 of the ledger's invariants; commits, crashes and races are shown elsewhere).
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.access.models import Spending
from marketplace.accounts.models import Team
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close, in_review, voided
from marketplace.ledger.check import check
from marketplace.ledger.models import Account, HoldPart
from marketplace.ledger.refund import refund
from marketplace.ledger.transfer import expire_credits, grant_credit, void_credit

MODELS = ("rehearsal/still", "rehearsal/clip", "kinora/glyph")
SCOPES: tuple[tuple[str, ...], ...] = (
    (), (), ("rehearsal",), ("rehearsal/still",), ("kinora", "rehearsal/clip"),
)  # fmt: skip
NEVER = 10**9
HOLD_SQL = "SELECT run_id, code FROM hold_within_budgets(%s::jsonb)"
amounts = st.integers(min_value=0, max_value=2_000)
wishes = st.lists(st.tuples(amounts, st.sampled_from(MODELS)), min_size=1, max_size=6)


@dataclass
class Credit:
    """What the books should say of one credit."""

    account: int
    reference: str
    granted: int
    scope: tuple[str, ...]
    priority: int
    days: int
    posted: int
    held: int = 0
    live: bool = True

    def rank(self, model: str) -> int | None:
        if model in self.scope:
            return 0
        if model.split("/", maxsplit=1)[0] in self.scope:
            return 1
        return None if self.scope else 2


@dataclass
class Run:
    """What one run holds and was charged: (credit, amount), in the order they were spent."""

    parts: list[tuple[Credit, int]]
    charged: int = 0
    taken: dict[int, int] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        return sum(amount for _, amount in self.parts)


class Ledger(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        connection.cursor().close()
        connection.connection.prepare_threshold = 3  # the invariants are asked after every step
        self.start = timezone.now()
        self.team = Team.objects.create(name="Ada")
        self.credits: list[Credit] = []
        self.open: dict[UUID, Run] = {}
        self.charged: dict[UUID, Run] = {}
        self.lost = 0  # expired and voided
        self.limit: int | None = None
        self.counted: set[UUID] = set()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @rule(
        amount=st.integers(1, 5_000),
        scope=st.sampled_from(SCOPES),
        priority=st.integers(8, 10),
        days=st.sampled_from([1, 1, 2, 9, NEVER]),
    )
    def grant(self, amount: int, scope: tuple[str, ...], priority: int, days: int) -> None:
        reference = f"{self.team.id}:{len(self.credits)}"
        accounts = {
            grant_credit(
                team=self.team,
                amount=amount,
                name=f"Credit {len(self.credits)}",
                reference=reference,
                expires_at=None if days == NEVER else self.start + timedelta(days=days),
                scope=scope,
                funder="rehearsal" if scope else "kinora",
                priority=priority,
            )
            for _ in range(2)  # the second is the same call again
        }
        [account] = accounts
        self.credits.append(Credit(account, reference, amount, scope, priority, days, amount))

    @precondition(lambda self: self.limit is None)
    @rule(limit=st.integers(1, 9_000))
    def limit_spending(self, limit: int) -> None:
        data = {"kind": "team", "limit": f"0.{limit:09d}", "period": "total"}
        budgets.create(team=self.team, data=data, created_by=None)
        self.limit = limit

    @rule(wanted=wishes)
    def hold_batch(self, wanted: list[tuple[int, str]]) -> None:
        runs = [ids.uuid7() for _ in wanted]
        items = [
            {
                "run_id": str(run), "team_id": str(self.team.id), "currency": "USD",
                "quoted": amount + 5, "amount": amount, "price_id": 1, "model": model,
            }
            for run, (amount, model) in zip(runs, wanted, strict=True)
        ]  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(HOLD_SQL, [json.dumps(items)])
            answers = dict(cursor.fetchall())
        expected = {r: self.held(r, *w) for r, w in zip(runs, wanted, strict=True)}
        assert answers == expected
        for run in runs:
            parts = HoldPart.objects.filter(hold=run).order_by("position")
            told = [(c.account, n) for c, n in self.open[run].parts] if run in self.open else []
            assert list(parts.values_list("account_id", "amount")) == told

    def held(self, run: UUID, amount: int, model: str) -> str:
        """The answer that one wish should get, after those before it."""
        if self.limit is not None and self.spent + amount > self.limit:
            return "budget_exceeded"
        usable = [c for c in self.credits if c.live and c.rank(model) is not None]
        if sum(c.posted - c.held for c in usable) < amount:
            return "insufficient_balance"
        usable.sort(key=lambda c: (c.rank(model), c.priority, c.days, c.account))
        parts, missing = [], amount
        for credit in usable:
            if taken := min(credit.posted - credit.held, missing):
                parts.append((credit, taken))
                credit.held += taken
                missing -= taken
        self.open[run] = Run(parts)
        if self.limit is not None:
            self.counted.add(run)
        return "ok"

    @property
    def spent(self) -> int:
        """What the budget counts: open holds and charges less refunds, since it was made."""
        both = [*self.open.items(), *self.charged.items()]
        return sum(r.charged or r.amount for run, r in both if run in self.counted)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), part=st.fractions(0, 1), lab=st.fractions(0, 1))
    def capture(self, data: st.DataObject, part: Fraction, lab: Fraction) -> None:
        closings = {}
        for run in self.some(data, self.open):
            amount = int(self.open[run].amount * part)
            shares = [("lab:rehearsal", int(amount * lab)), ("holder:x", (amount) // 20)]
            shares = shares if sum(n for _, n in shares) <= amount else []
            rest = amount - sum(n for _, n in shares)
            listed = [Share(name, n) for name, n in [*shares, ("revenue:x", rest)]]
            closings[run] = captured(amount, listed)
        self.settle(closings)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), reviewed=st.booleans())
    def void(self, data: st.DataObject, reviewed: bool) -> None:
        runs = self.some(data, self.open)
        if reviewed:
            close(closings={run: in_review() for run in runs})
            assert balance(self.team.id).held == sum(r.amount for r in self.open.values())
        self.settle({run: voided() for run in runs})

    def settle(self, closings: dict[UUID, dict[str, Any]]) -> None:
        assert close(closings=closings).keys() == closings.keys()
        assert close(closings=closings) == {}  # once is all
        for run, closing in closings.items():
            known, left = self.open.pop(run), int(closing["amount"])
            known.charged = left
            for credit, held in known.parts:
                taken = min(held, left)
                credit.held -= held
                credit.posted -= taken
                left -= taken
                known.taken[credit.account] = taken
            if known.charged:
                self.charged[run] = known

    @precondition(lambda self: self.charged)
    @rule(data=st.data())
    def refund_one(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(list(self.charged)))
        known = self.charged[run]
        amount = data.draw(st.integers(1, known.charged))
        for _ in range(2):  # the second is the same call again
            refund(run=run, amount=amount, reference=f"refund:{run}:{known.charged}", note="")
        known.charged -= amount
        for credit, _ in reversed(known.parts):
            back = min(known.taken[credit.account], amount)
            known.taken[credit.account] -= back
            credit.posted += back
            amount -= back
        if not known.charged:
            del self.charged[run]

    @precondition(lambda self: self.credits)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        credit = data.draw(st.sampled_from(self.credits))
        past = self.start - timedelta(days=1)  # also by the clock of the transaction
        Account.objects.filter(id=credit.account, expires_at__gt=past).update(expires_at=past)
        Account.objects.filter(id=credit.account, expires_at=None).update(expires_at=past)
        credit.live = False
        self.empty_what_has_ended()

    @precondition(lambda self: self.credits)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        credit = data.draw(st.sampled_from(self.credits))
        assert void_credit(reference=credit.reference).amount == credit.posted - credit.held
        assert void_credit(reference=credit.reference).amount == 0
        self.lost += credit.posted - credit.held
        credit.posted, credit.live = credit.held, False
        self.empty_what_has_ended()

    def empty_what_has_ended(self) -> None:
        ended = [c for c in self.credits if not c.live and c.posted > c.held]
        assert expire_credits() == len(ended)
        assert expire_credits() == 0
        for credit in ended:
            self.lost += credit.posted - credit.held
            credit.posted = credit.held

    @precondition(lambda self: self.credits)
    @rule(
        statement=st.sampled_from(
            ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
        )
    )
    def rewrite_history(self, statement: str) -> None:
        for table in ("ledger_entry", "ledger_transfer"):
            with suppress(DatabaseError), transaction.atomic():
                connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
                connection.cursor().execute(statement.format(table))
                raise AssertionError(f"{table} let itself be changed")

    @staticmethod
    def some(data: st.DataObject, runs: dict[UUID, Run]) -> list[UUID]:
        return data.draw(st.lists(st.sampled_from(list(runs)), min_size=1, max_size=4, unique=True))

    @invariant()
    def the_database_agrees(self) -> None:
        found = Account.objects.filter(team=self.team).values_list("id", "posted", "held")
        assert set(found) == {(c.account, c.posted, c.held) for c in self.credits}
        burned = sum(run.charged for run in self.charged.values())
        remaining = sum(c.posted for c in self.credits)
        assert sum(c.granted for c in self.credits) == burned + self.lost + remaining
        assert check() == []

    @invariant()
    def the_budget_agrees(self) -> None:
        for spending in Spending.objects.filter(budget__team=self.team):
            assert spending.spent + spending.held == self.spent <= (self.limit or 0)
