"""Usage is exact to the last commit, whatever is folded when, and equals the ledger."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.ledger.check import check
from marketplace.ledger.models import Entry
from marketplace.ledger.refund import refund
from marketplace.metering.models import MeterEvent, Price
from marketplace.runs.connections import parameters
from marketplace.runs.invariants import INVARIANTS
from marketplace.runs.models import Run, UsageDay
from marketplace.runs.usage import Wish, fold, rebuild, usage
from tests.conftest import Person, fund, join
from tests.marketplace import worker
from tests.marketplace.quiet import quiet
from tests.marketplace.supply import admit
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)
PRICE = 2_000_000
DIMS = ("day", "key_id", "price_id", "project", "currency", "unit")
SUMS = ("runs", "charged_runs", "charged", "given_back", "refunded", "quantity")
TOTALS = f"SELECT {', '.join(DIMS)}, {', '.join(f'sum({name})' for name in SUMS)} FROM"
GROUPED = "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2 NULLS FIRST, 3, 4, 5, 6"
NAMES = f"{', '.join(DIMS)}, {', '.join(SUMS)}"
SHOWN = f"""{TOTALS} (SELECT {NAMES} FROM runs_usageday WHERE team_id = %(team)s UNION ALL
                      SELECT {NAMES} FROM usage_tail(%(team)s)) t {GROUPED}"""
DIRECT = f"""{TOTALS} usage_facts('0', '18446744073709551615')
              WHERE team_id = %(team)s {GROUPED}"""


@pytest.fixture
def today() -> date:
    return timezone.now().date()


def paid(person: Person, pictures: int = 1) -> UUID:
    """A run that delivered and was charged."""
    run_id = admit(person, count=pictures)
    worker.succeed(*worker.claim(), pictures=pictures)
    return run_id


def wish(person: Person, **filters: Any) -> Wish:
    today = timezone.now().date()
    return Wish(person.team.id, today - timedelta(days=1), today, filters)


# ── against everything that may happen ────────────────────────────────────────────────────────


@dataclass
class Lane:
    """A team with a connection of its own, so that its commits come when they come."""

    link: psycopg.Connection
    team: UUID
    key: UUID
    price: Price
    draw: random.Random
    charged: list[UUID] = field(default_factory=list)
    waiting: list[UUID] = field(default_factory=list)

    def held(self, amount: int) -> UUID:
        run = ids.uuid7()
        self.link.execute(
            "INSERT INTO runs_run (id, team_id, key_id, release_id, price_id, inputs,"
            " inputs_digest, state, queue, priority, route, attempt, worker, created_at, project,"
            " webhooks)"
            " VALUES (%s, %s, %s, %s, %s, '{}', '', 'queued', 'labs', 0, '{}', 0, '', now(), %s,"
            " '[]')",
            [run, self.team, self.draw.choice([self.key, None]), self.price.release_id,
             self.price.id, self.draw.choice(["", "film"])],
        )  # fmt: skip
        want = {"run_id": str(run), "team_id": str(self.team), "currency": "USD",
                "quoted": amount, "amount": amount, "price_id": self.price.id}  # fmt: skip
        self.link.execute("SELECT * FROM hold_money(%s)", [json.dumps([want])])
        return run

    def close(self, run: UUID, state: str, amount: int = 0) -> None:
        share = [{"account": "revenue:rehearsal/still", "amount": amount}] if amount else []
        item = {"run_id": str(run), "state": state, "amount": amount, "shares": share}
        self.link.execute("SELECT * FROM close_holds(%s)", [json.dumps([item])])
        self.link.execute(
            "UPDATE ledger_hold SET closed_at = closed_at - %s * interval '1 d' WHERE run_id = %s",
            [self.draw.randrange(3), run],
        )
        if amount:
            self.charged.append(run)

    def count(self, run: UUID, quantity: int) -> None:
        self.link.execute(
            "INSERT INTO metering_meterevent"
            " (identifier, run_id, team_id, release_id, unit, quantity, timestamp)"
            " VALUES (%s, %s, %s, %s, %s, %s, now())",
            [f"{run}:x", run, self.team, self.price.release_id,
             self.draw.choice(["image", "megapixel"]), quantity],
        )  # fmt: skip

    def act(self, what: str) -> None:
        amount = self.draw.randrange(1, 1000)
        if what == "refund" and self.charged:
            run = self.draw.choice(self.charged)
            self.link.execute("SELECT refund_run(%s, 1, %s, '')", [run, str(ids.uuid7())])
        elif what == "decide" and self.waiting:
            run = self.waiting.pop()
            self.link.execute(
                "UPDATE metering_meterevent SET quantity = 7 WHERE run_id = %s", [run]
            )
            self.close(run, "captured", 5)
        elif what in ("charge", "void", "review"):
            run = self.held(amount + 5)
            self.count(run, amount)
            if what == "review":
                self.waiting.append(run)
            state = {"charge": "captured", "void": "voided", "review": "in_review"}[what]
            self.close(run, state, amount if what == "charge" else 0)
        elif what == "commit":
            self.link.commit()


@pytest.fixture
def lanes(still: Release) -> Iterator[list[Lane]]:
    with (
        psycopg.connect(**parameters()) as a,
        psycopg.connect(**parameters()) as b,
        psycopg.connect(**parameters()) as c,
    ):
        asked("SELECT system_account('revenue:rehearsal/still', 'USD')", None)
        price = Price.objects.get(release=still)
        made = []
        for name, link in (("a", a), ("b", b), ("c", c)):
            team = Team.objects.create(name=name)
            fund(team, "5", reference=name)
            key = join(name, team=team, role="owner").key
            made.append(Lane(link, team.id, key.id, price, random.Random(name)))
        yield made


def asked(sql: str, team: UUID | None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"team": team})
        return list(cursor.fetchall())


def days() -> list[Any]:
    order = ("team_id", "day", "key_id", "project", "unit")
    return list(UsageDay.objects.order_by(*order).values_list("team_id", *DIMS, *SUMS))


def fold_all() -> None:
    """Fold what is committed, all of it."""
    quiet()
    fold()


ACTS = ("charge", "charge", "void", "review", "decide", "refund", "commit")
STEP = st.one_of(st.tuples(st.sampled_from(ACTS), st.integers(0, 2)), st.just(("fold", 0)))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEP, min_size=5, max_size=40))
def test_days_and_tail_are_what_was_committed_and_folding_is_rebuilding(
    lanes: list[Lane], steps: list[tuple[str, int]]
) -> None:
    """Commits of three connections come in any order, folds at any instant."""
    for what, number in steps:
        if what == "fold":
            fold()
        else:
            lanes[number].act(what)
        if what in ("fold", "commit"):
            for lane in lanes:
                assert asked(SHOWN, lane.team) == asked(DIRECT, lane.team)
    for lane in lanes:
        lane.link.commit()
    fold_all()
    folded = days()
    rebuild()
    assert days() == folded
    assert check() == []


def test_a_commit_that_comes_late_is_folded_once(lanes: list[Lane]) -> None:
    early, late, _ = lanes
    late.act("charge")
    early.act("charge")
    early.link.commit()
    fold()  # late's id is the lesser one and still running
    assert not UsageDay.objects.exists()
    assert [row[-6] for row in asked(SHOWN, early.team)] == [1]
    late.link.commit()
    fold_all()
    fold_all()
    assert UsageDay.objects.aggregate(sum=Sum("runs"))["sum"] == 2


def test_a_run_of_several_units_counts_once(ada: Person, still: Release) -> None:
    run = Run.objects.get(id=paid(ada, pictures=3))
    for unit, quantity in (("audio_second", 2), ("video_second", 5), ("a_free_one", 0)):
        MeterEvent.objects.create(
            identifier=f"{run.id}:{unit}", run_id=run.id, team=ada.team, release=still, unit=unit,
            quantity=quantity, timestamp=timezone.now(),
        )  # fmt: skip
    for _ in ("in the tail", "in the days"):
        [[line]] = usage(wish(ada), ())
        assert (line.runs, line.charged_runs, line.charged) == (1, 1, 3 * PRICE)
        assert line.units == {"audio_second": 2, "image": 3, "video_second": 5}
        fold_all()
    assert UsageDay.objects.count() == 3


def test_a_restored_database_is_folded_anew(ada: Person, still: Release) -> None:
    paid(ada)
    fold_all()
    before = days()
    with connection.cursor() as cursor:  # as if its ids came from another server
        cursor.execute("UPDATE runs_usagefold SET upto = '900000000'")
        cursor.execute("UPDATE ledger_hold SET closed_xid = '800000000'")
    paid(ada)
    fold_all()
    fold_all()
    [[total]] = usage(wish(ada), ())
    assert (total.runs, total.charged) == (2, 2 * PRICE)
    assert len(before) == len(days())


# ── what is asked ─────────────────────────────────────────────────────────────────────────────


def test_usage_equals_the_ledger(ada: Person, cy: Person, still: Release) -> None:
    first = paid(ada, 3)
    paid(ada)
    paid(cy)
    admit(ada)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM cancel_run(%s, %s)", [admit(ada), ada.team.id])
    fold_all()
    refund(run=first, amount=500_000, reference="r", note="half a picture")

    [[total], by_model] = usage(wish(ada), (), ("model",))
    assert (total.runs, total.charged_runs, total.charged) == (3, 2, 4 * PRICE)
    assert (total.given_back, total.refunded, total.paid) == (PRICE, 500_000, 7_500_000)
    assert total.units == {"image": Decimal(4)}
    assert [line.dims for line in by_model] == [{"model": "rehearsal/still"}]
    moved = Entry.objects.filter(account__team=ada.team, transfer__kind__in=["charge", "refund"])
    assert total.paid == -moved.aggregate(sum=Sum("amount"))["sum"]


def test_every_filter_and_grouping(web: Client, ada: Person, still: Release, today: date) -> None:
    paid(ada)
    Run.objects.update(key_id=ada.key.id, project="film")
    paid(ada, 2)
    fold_all()
    for filters, pictures in [
        ({"key": ada.key.id}, 1), ({"key": None}, 2), ({"project": "film"}, 1),
        ({"project": ""}, 2), ({"model": "rehearsal/still"}, 3), ({"model": "kinora/glyph"}, 0),
        ({"release": still.full_name}, 3), ({"key": None, "project": "film"}, 0),
    ]:  # fmt: skip
        lines = usage(wish(ada, **filters), ())[0]
        assert sum(line.charged for line in lines) == pictures * PRICE, filters

    def api(query: str) -> Any:
        return web.get(f"/api/v1/usage?{query}", key=ada.text).json

    found = api("group_by=key,project")
    assert [(line["key"], line["project"], line["captured"]["nano"]) for line in found["data"]] == [
        ("playground", "", 2 * PRICE), (ada.key.public_id, "film", PRICE),
    ]  # fmt: skip
    assert found["totals"][0]["captured"]["nano"] == 3 * PRICE
    [line] = api(f"group_by=release&key={ada.key.public_id}")["data"]
    assert (line["model"], line["release"], line["runs"]) == ("rehearsal/still", still.version, 1)
    assert line["units"] == [{"unit": "image", "quantity": "1"}]
    assert api("")["data"][0]["day"] == str(today)
    assert api("group_by=")["data"] == api("")["totals"]
    assert api("from=2020-01-01&to=2020-02-01") == {
        "from": "2020-01-01", "to": "2020-02-01", "group_by": ["day", "release"], "totals": [],
        "data": [],
    }  # fmt: skip


def test_what_is_asked_wrongly_is_named(web: Client, ada: Person) -> None:
    for query, param in [
        ("from=x", "from"), ("to=2026-13-01", "to"), ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2024-01-01&to=2026-01-01", "from"), ("group_by=moon", "group_by"),
        ("key=key_x", "key"),
    ]:  # fmt: skip
        answer = web.get(f"/api/v1/usage?{query}", key=ada.text)
        assert (answer.status, answer.error["param"]) == (422, param), query


def test_another_teams_usage_is_absent(ada: Person, cy: Person, still: Release) -> None:
    paid(cy)
    fold_all()
    paid(cy)
    assert usage(wish(ada), (), ("day", "key"), ("model", "project")) == [[], [], []]


def test_the_command_rebuilds(
    ada: Person, still: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    paid(ada)
    fold_all()
    UsageDay.objects.update(charged=1)
    [(fault,)] = asked(INVARIANTS["days and tail of usage are what holds and refunds say"], None)
    assert fault == str(ada.team.id)
    call_command("rebuild_usage")
    assert capsys.readouterr().out == "Rows of usage: 1.\n"
    assert usage(wish(ada), ())[0][0].charged == PRICE
    assert asked(INVARIANTS["days and tail of usage are what holds and refunds say"], None) == []
