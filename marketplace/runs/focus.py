"""Usage as rows of the FinOps Open Cost and Usage Specification (FOCUS) 1.2, in CSV.

A usage row per day, price version, key and project; a credit row for what was refunded on a day.
The sum of BilledCost is what the ledger took, to the nano. `docs/usage.md` says what a column
holds where the specification leaves a choice, and where we fall short of it.
"""

import csv
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

from django.db import connection, transaction
from django.http import StreamingHttpResponse

from marketplace import ids
from marketplace.accounts.models import ApiKey, Team
from marketplace.metering.models import Price
from marketplace.metering.units import unit_of
from marketplace.money import NANO, plain
from marketplace.runs.connections import Row, rows
from marketplace.runs.usage import PLAYGROUND, Line, Wish, usage
from marketplace.runs.usage import plain as plain_quantity

US = "Kinora"
COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice",
    "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId",
    "SubAccountId", "SubAccountName", "Tags", "x_PriceSha256", "x_Runs",
)  # fmt: skip
# Refunds with the month that their charge was made in: of an earlier one, they are corrections.
REFUNDS_SQL = """
SELECT (t.event_at AT TIME ZONE 'UTC')::date AS day, h.price_id, r.key_id,
       coalesce(r.project, '') AS project, h.currency,
       date_trunc('month', h.closed_at AT TIME ZONE 'UTC')
           < date_trunc('month', t.event_at AT TIME ZONE 'UTC') AS late,
       count(DISTINCT t.run_id) AS runs, sum(n.amount)::bigint AS amount
  FROM ledger_transfer t
  JOIN ledger_hold h ON h.run_id = t.run_id AND h.team_id = %(team)s
  LEFT JOIN runs_run r ON r.id = t.run_id
  JOIN ledger_entry n ON n.transfer_id = t.id
  JOIN ledger_account a ON a.id = n.account_id AND a.team_id = h.team_id
 WHERE t.kind = 'refund'
   AND t.event_at >= %(first)s AND t.event_at < %(last)s::date + 1
 GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""
FocusRow = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Known:
    """What rows are named by: the team, its keys' names by id, prices by id."""

    team: Team
    keys: Mapping[Any, str]
    prices: Mapping[int, Price]


@dataclass(frozen=True, slots=True)
class Charge:
    """What a row is about. cost: nano-units, negative for what was given back."""

    day: date
    price: Price
    key_id: Any
    project: str
    currency: str
    cost: int
    runs: int


def focus(team: Team, wish: Wish) -> list[FocusRow]:
    """The rows of the days asked for, from one snapshot."""
    lines, refunds = facts(wish)
    found = {line.dims["price_id"] for line in lines} | {row["price_id"] for row in refunds}
    known = Known(
        team,
        {key.id: key.name for key in ApiKey.objects.filter(team=team)},
        Price.objects.select_related("release__model__lab").in_bulk(found),
    )
    used = [usage_row(known, line) for line in reversed(lines) if line.charged_runs]
    return used + [refund_row(known, row) for row in refunds]


def facts(wish: Wish) -> tuple[list[Line], list[Row]]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        [lines] = usage(wish, ("day", "price", "key", "project"))
        days = {"team": wish.team_id, "first": wish.first, "last": wish.last}
        return lines, rows((REFUNDS_SQL, days))


def usage_row(known: Known, line: Line) -> FocusRow:
    dims = line.dims
    price = known.prices[dims["price_id"]]
    charge = Charge(
        dims["day"], price, dims["key_id"], dims["project"], line.currency, line.charged,
        line.charged_runs,
    )  # fmt: skip
    unit, quantity = counted(line)
    unit_price = exact_unit_price(price.lines, quantity, line.charged)
    return named(known, charge) | {
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{line.charged_runs} runs of {price.release.full_name}",
        "ConsumedQuantity": plain_quantity(quantity),
        "ConsumedUnit": unit,
        "ContractedUnitPrice": unit_price,
        "ListUnitPrice": unit_price if price.segment == "list" else None,
        "PricingQuantity": plain_quantity(quantity),
        "PricingUnit": unit,
        "SkuMeter": unit,
    }


def refund_row(known: Known, row: Row) -> FocusRow:
    price = known.prices[row["price_id"]]
    charge = Charge(
        row["day"], price, row["key_id"], row["project"], row["currency"], -row["amount"],
        row["runs"],
    )  # fmt: skip
    return named(known, charge) | {
        "ChargeCategory": "Credit",
        "ChargeClass": "Correction" if row["late"] else None,
        "ChargeDescription": f"Refund of {row['runs']} runs of {price.release.full_name}",
    }


def named(known: Known, charge: Charge) -> FocusRow:
    """What usage and refunds have in common; the rest is null."""
    release, cost = charge.price.release, plain(charge.cost)
    month = charge.day.replace(day=1)
    after = (month + timedelta(days=31)).replace(day=1)
    costs = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
    return dict.fromkeys(COLUMNS) | dict.fromkeys(costs, cost) | {
        "BillingAccountId": known.team.public_id,
        "BillingAccountName": known.team.name,
        "BillingCurrency": charge.currency,
        "BillingPeriodStart": midnight(month),
        "BillingPeriodEnd": midnight(after),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": midnight(charge.day),
        "ChargePeriodEnd": midnight(charge.day + timedelta(days=1)),
        "InvoiceIssuerName": US,
        "PricingCategory": "Standard",
        "ProviderName": US,
        "PublisherName": release.model.lab.name,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": release.model.full_name,
        "ServiceSubcategory": "Generative AI",
        "SkuId": release.full_name,
        "SkuPriceId": f"{release.full_name}#{charge.price.segment}.{charge.price.version}",
        "SubAccountId": ids.public("key", charge.key_id) if charge.key_id else PLAYGROUND,
        "SubAccountName": known.keys.get(charge.key_id, "Playground"),
        "Tags": json.dumps({"project": charge.project} if charge.project else {}),
        "x_PriceSha256": charge.price.digest or None,
        "x_Runs": str(charge.runs),
    }  # fmt: skip


def counted(line: Line) -> tuple[str, Decimal]:
    """The unit and quantity of a row: of runs, where a charge follows from several units."""
    if len(line.units) != 1:
        return "Runs", Decimal(line.charged_runs)
    [(unit, quantity)] = line.units.items()
    head, _, tail = unit_of(unit).label.partition(" ")
    return f"{head}s {tail}".strip().capitalize(), quantity


def exact_unit_price(
    lines: Sequence[Mapping[str, Any]], quantity: Decimal, cost: int
) -> str | None:
    """The one unit price that makes this cost of this quantity, or None where none does."""
    if len(lines) != 1 or "unit_price" not in lines[0]:
        return None
    price = str(lines[0]["unit_price"])
    return price if Fraction(quantity) * Fraction(price) * NANO == cost else None


def midnight(day: date) -> str:
    return datetime.combine(day, time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ── on its way to a reader ────────────────────────────────────────────────────────────────────


class Echo:
    """What the csv module writes to, to have its lines given back."""

    def write(self, text: str) -> str:
        return text


def as_csv(found: Sequence[FocusRow]) -> Iterator[str]:
    """Lines of text, a null as an empty field."""
    writer = csv.DictWriter(Echo(), COLUMNS)
    yield writer.writeheader()
    yield from (writer.writerow(row) for row in found)


def streamed(team: Team, wish: Wish) -> StreamingHttpResponse:
    """A download; only the days count of a wish, no filters."""
    found = focus(team, replace(wish, filters={}))
    return StreamingHttpResponse(
        pieces(as_csv(found)),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="focus-{wish.first}-{wish.last}.csv"',
            "Cache-Control": "private, no-store",
        },
    )


async def pieces(lines: Iterator[str]) -> AsyncIterator[str]:
    """A few hundred lines at a time."""
    while piece := "".join(islice(lines, 500)):
        yield piece
