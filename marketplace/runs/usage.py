"""What a team used and paid, by day, model, release, key and project: exact to the last commit.

One statement reads the folded days and what is not in them yet (`usage.sql`), however many
groupings a page needs. Money is in nano-units, days are UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from marketplace import ids
from marketplace.errors import InvalidInput
from marketplace.money import Money
from marketplace.runs.connections import Row, rows

MONTH = timedelta(days=29)  # and today
LONGEST = timedelta(days=366)
PLAYGROUND = "playground"  # what runs without a key
GROUPS = {  # what one may group by → columns
    "day": ("day",),
    "model": ("model",),
    "release": ("model", "release"),
    "key": ("key_id",),
    "project": ("project",),
    "price": ("price_id",),  # a version; for files, nobody asks for it by name
}
PUBLIC = tuple(GROUPS)[:-1]
COLUMNS = {  # what one may group by, and the columns of the days that it comes from
    "day": "day",
    "model": "price_id",
    "release": "price_id",
    "key_id": "key_id",
    "project": "project",
    "price_id": "price_id",
    "unit": "unit",
}
SUMMED = {"day": "date", "key_id": "uuid", "price_id": "bigint", "project": "text", "unit": "text"}
# Many rows become few before their prices get names. Sets with days and sets without are summed
# apart: a year by day and model, and by key, is two sums over its rows and not one over their
# product.
USAGE_SQL = """
WITH few AS (
    SELECT {inner}, u.currency, sum(u.runs)::bigint AS runs,
           sum(u.charged_runs)::bigint AS charged_runs, sum(u.charged)::bigint AS charged,
           sum(u.given_back)::bigint AS given_back, sum(u.refunded)::bigint AS refunded,
           sum(u.quantity) AS quantity
      FROM (SELECT d.day, d.key_id, d.price_id, d.project, d.currency, d.unit, d.runs,
                   d.charged_runs, d.charged, d.given_back, d.refunded, d.quantity
              FROM runs_usageday d
             WHERE d.team_id = %(team)s AND d.day BETWEEN %(first)s AND %(last)s
             UNION ALL
            SELECT t.day, t.key_id, t.price_id, t.project, t.currency, t.unit, t.runs,
                   t.charged_runs, t.charged, t.given_back, t.refunded, t.quantity
              FROM usage_tail(%(team)s) t
             WHERE t.day BETWEEN %(first)s AND %(last)s) u
     WHERE {narrowed}
     GROUP BY u.currency, GROUPING SETS ({summed})
), f AS (
    SELECT few.*, e.version AS release,
           CASE WHEN a.decision = 'hidden' THEN 'withheld/withheld'
                ELSE l.slug || '/' || m.slug END AS model
      FROM few
      LEFT JOIN metering_price p ON p.id = few.price_id
      LEFT JOIN catalog_release e ON e.id = p.release_id
      LEFT JOIN catalog_model m ON m.id = e.model_id
      LEFT JOIN catalog_lab l ON l.id = m.lab_id
      LEFT JOIN LATERAL release_access(e.id, %(team)s, NULL) AS a ON true
)
SELECT {level} AS level, {dims} f.currency, {unit} AS unit,
       sum(f.runs)::bigint AS runs, sum(f.charged_runs)::bigint AS charged_runs,
       sum(f.charged)::bigint AS charged, sum(f.given_back)::bigint AS given_back,
       sum(f.refunded)::bigint AS refunded, sum(f.quantity) AS quantity
  FROM f
 WHERE {where}
 GROUP BY f.currency, f.daily, GROUPING SETS ({sets})
HAVING f.daily = {daily}
"""
FILTERS = {  # by the days' own columns
    "key": "u.key_id IS NOT DISTINCT FROM %(key)s",
    "project": "u.project = %(project)s",
}
NAMED = {  # by names of a price
    "model": "f.model = %(model)s",
    "release": "f.model || '@' || f.release = %(release)s",
}


@dataclass(frozen=True)
class Wish:
    """The days asked for, both included, and what alone is counted.

    filters: name of `FILTERS` or `NAMED` → value; a key of None is the playground, a
    project of "" is none.
    """

    team_id: UUID
    first: date
    last: date
    filters: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Line:
    """What was used under one set of `dims`, column → value; units: unit → charged quantity."""

    dims: dict[str, Any]
    currency: str
    runs: int = 0
    charged_runs: int = 0
    charged: int = 0
    given_back: int = 0
    refunded: int = 0
    units: dict[str, Decimal] = field(default_factory=dict)

    @property
    def paid(self) -> int:
        """What was charged less what was refunded."""
        return self.charged - self.refunded

    def take(self, row: Row) -> None:
        """Add a row: what it counts, and how much of its unit if it has one."""
        if row["unit"]:
            self.units[row["unit"]] = row["quantity"]
        self.runs += row["runs"]
        self.charged_runs += row["charged_runs"]
        self.charged += row["charged"]
        self.given_back += row["given_back"]
        self.refunded += row["refunded"]

    def as_json(self) -> dict[str, Any]:
        """What the API says of it."""
        amounts = {"captured": self.charged, "given_back": self.given_back}
        amounts |= {"refunded": self.refunded, "paid": self.paid}
        units = [
            {"unit": unit, "quantity": plain(quantity)} for unit, quantity in self.units.items()
        ]
        return {
            **dims_json(self.dims),
            "runs": self.runs,
            "charged_runs": self.charged_runs,
            **{name: Money(amount, self.currency).as_json() for name, amount in amounts.items()},
            "units": units,
        }


def dims_json(dims: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in dims.items() if name != "key_id"}
    if "key_id" in dims:
        said["key"] = ids.public("key", dims["key_id"]) if dims["key_id"] else PLAYGROUND
    return said


def plain(quantity: Decimal) -> str:
    """Without needless zeros: `4`, `0.5`."""
    text = f"{quantity:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# ── what is asked for ─────────────────────────────────────────────────────────────────────────


def wished(
    team_id: UUID, asked: Mapping[str, str], *, names: tuple[str, str] = ("from", "to")
) -> Wish:
    """A query's days, both included and the last thirty unless told, and its filters.

    Raises InvalidInput naming the one at fault.
    """
    first_name, last_name = names
    last = day(asked, last_name) or timezone.now().date()
    first = day(asked, first_name) or last - MONTH
    if not timedelta(0) <= last - first <= LONGEST:
        raise InvalidInput(
            f"{first_name} must be before {last_name}, by at most {LONGEST.days} days.",
            param=first_name,
        )
    filters: dict[str, Any] = {
        name: asked[name][:200] for name in (*NAMED, *FILTERS) if name in asked
    }
    if "key" in filters:
        filters["key"] = key_named(filters["key"])
    return Wish(team_id, first, last, filters)


def day(asked: Mapping[str, str], name: str) -> date | None:
    try:
        return date.fromisoformat(asked[name]) if name in asked else None
    except ValueError:
        raise InvalidInput(f"{name} must be a date such as 2026-11-20.", param=name) from None


def key_named(text: str) -> UUID | None:
    """A key's id, or None for the playground."""
    if text == PLAYGROUND:
        return None
    if found := ids.private("key", text):
        return found
    raise InvalidInput(f"key must be a key's id or {PLAYGROUND}.", param="key")


def grouping_named(text: str) -> tuple[str, ...]:
    """`day,model` → its names. Raises InvalidInput."""
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in PUBLIC]:
        raise InvalidInput(
            f"group_by knows {', '.join(PUBLIC)}, not {unknown[0][:40]}.", param="group_by"
        )
    return names


# ── what is found ─────────────────────────────────────────────────────────────────────────────


def usage(
    wish: Wish, *groupings: Sequence[str], bare: Sequence[Sequence[str]] = ()
) -> list[list[Line]]:
    """The lines of each grouping, from one snapshot; a grouping by nothing is the total.

    groupings: names of `GROUPS`, no two alike; bare: more of them, whose lines count no units.
    Lines come by their dims, days newest first.
    """
    sets = [(*columns_of(names), "unit") for names in groupings] + [*map(columns_of, bare)]
    used = [name for name in COLUMNS if any(name in each for each in sets)]
    found: dict[int, dict[tuple[Any, ...], Line]] = {level(each, used): {} for each in sets}
    dims_at = {
        key: [name for name in each if name != "unit"]
        for key, each in zip(found, sets, strict=True)
    }
    values = {"team": wish.team_id, "first": wish.first, "last": wish.last, **wish.filters}
    for row in rows((statement(wish, sets, used), values)):
        dims = {name: row[name] for name in dims_at[row["level"]]}
        lines, key = found[row["level"]], (*dims.values(), row["currency"])
        lines.setdefault(key, Line(dims, row["currency"])).take(row)
    return [sorted(lines.values(), key=order) for lines in found.values()]


def statement(wish: Wish, sets: Sequence[Sequence[str]], used: Sequence[str]) -> str:
    names = [f"f.{name}" for name in used]
    both = [
        sums(wish, each)
        for each in ([each for each in sets if "day" in each],
                     [each for each in sets if "day" not in each])
        if each
    ]  # fmt: skip
    return USAGE_SQL.format(
        inner=inner(both),
        narrowed=" AND ".join(FILTERS[name] for name in wish.filters if name in FILTERS) or "true",
        summed=", ".join(f"({', '.join(f'u.{column}' for column in each)})" for each in both),
        level=f"grouping({', '.join(names)})" if names else "0",
        dims="".join(f"{name}, " for name in names if name != "f.unit"),
        unit="f.unit" if "unit" in used else "''",
        where=" AND ".join(NAMED[name] for name in wish.filters if name in NAMED) or "true",
        sets=", ".join(f"({', '.join(f'f.{name}' for name in each)})" for each in sets),
        daily="(grouping(f.day) = 0)" if "day" in used else "false",
    )


def sums(wish: Wish, sets: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The columns that rows are first summed by, so that these sets can be made of them."""
    needed = {COLUMNS[name] for each in sets for name in each}
    if any(name in NAMED for name in wish.filters):
        needed.add("price_id")
    return tuple(column for column in SUMMED if column in needed)


def inner(both: Sequence[Sequence[str]]) -> str:
    """All columns that a sum may be by, and whether a row is of a day."""
    present = {column for each in both for column in each}
    columns = [
        f"u.{column}" if column in present else f"NULL::{kind} AS {column}"
        for column, kind in SUMMED.items()
    ]
    daily = "grouping(u.day) = 0" if "day" in present else "false"
    return ", ".join((*columns, f"{daily} AS daily"))


def columns_of(names: Sequence[str]) -> tuple[str, ...]:
    wanted = {column for name in names for column in GROUPS[name]}
    return tuple(column for column in COLUMNS if column in wanted)


def level(columns: Sequence[str], used: Sequence[str]) -> int:
    """What SQL's grouping() says of this set: a bit per used column that is not in it."""
    return sum(1 << place for place, name in enumerate(reversed(used)) if name not in columns)


def order(line: Line) -> tuple[Any, ...]:
    dims = [
        -value.toordinal() if isinstance(value, date) else (value is not None, str(value))
        for value in line.dims.values()
    ]
    return (*dims, line.currency)


def fold() -> int:
    """Bring the days of usage up to the last settled commit; gives the rows written."""
    return answer("SELECT fold_usage()")


@transaction.atomic
def rebuild() -> int:
    """Make the days of usage anew from holds, events and refunds; gives their rows."""
    return answer("SELECT rebuild_usage()")


def answer(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])
