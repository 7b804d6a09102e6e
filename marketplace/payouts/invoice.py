"""Read and keep a supplier's invoice: exact, whole or not at all, once per reference.

A file that is wrong anywhere is refused with its line and field. Lines count from 1; in a CSV the
row of names is none of them.
"""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction

from marketplace.catalog.models import Lab
from marketplace.errors import IdempotencyConflict, InvalidInput
from marketplace.metering.seal import canonical
from marketplace.money import LARGEST, nano
from marketplace.payouts.models import Invoice, InvoiceLine

HEAD = ("reference", "currency", "from", "to")
COLUMNS = ("job", "unit", "quantity", "unit_price", "amount")
CURRENCIES = ("USD",)
MOST = 200_000
PLACES = {"quantity": (6, 14), "unit_price": (12, 12)}  # decimal places, digits before them


@dataclass(frozen=True, slots=True)
class Billed:
    """One line. amount: nano-units."""

    job: str
    unit: str
    quantity: Decimal
    unit_price: Decimal
    amount: int


@dataclass(frozen=True, slots=True)
class Bill:
    """What an invoice says."""

    reference: str
    currency: str
    start: date
    end: date
    lines: tuple[Billed, ...]

    def sha256(self) -> str:
        told = [self.reference, self.currency, str(self.start), str(self.end)]
        rows = [[x.job, x.unit, str(x.quantity), str(x.unit_price), x.amount] for x in self.lines]
        return hashlib.sha256(canonical([told, rows])).hexdigest()


def read(data: Mapping[str, Any]) -> Bill:
    """data: reference, currency, from, to, and either lines or the text of a CSV. Raises
    InvalidInput naming line and field."""
    reference, currency = data.get("reference"), data.get("currency", "USD")
    if not isinstance(reference, str) or not 1 <= len(reference.strip()) <= 120:
        raise InvalidInput("reference must have 1 to 120 characters.", param="reference")
    if currency not in CURRENCIES:
        raise InvalidInput(f"currency must be {' or '.join(CURRENCIES)}.", param="currency")
    start, end = day(data, "from"), day(data, "to")
    if end <= start:
        raise InvalidInput("to must be after from; it is the first day left out.", param="to")
    if ("csv" in data) == ("lines" in data):
        raise InvalidInput("Send either lines or csv.", param="lines")
    rows = of_csv(data["csv"]) if "csv" in data else data["lines"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST:
        raise InvalidInput(f"lines must be a list of 1 to {MOST} lines.", param="lines")
    lines = tuple(billed(row, n) for n, row in enumerate(rows, 1))
    return Bill(reference.strip(), currency, start, end, lines)


def day(data: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(data.get(name, ""))
    except (ValueError, TypeError):
        raise InvalidInput(f"{name} must be a date such as 2026-11-01.", param=name) from None


def of_csv(text: Any) -> list[dict[str, Any]]:
    """Rows of a CSV with a row of names. Raises InvalidInput."""
    if not isinstance(text, str):
        raise InvalidInput("csv must be a text.", param="csv")
    try:
        names, *rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    except (csv.Error, ValueError):
        raise InvalidInput("csv must begin with a row of names.", param="csv") from None
    if missing := sorted(set(COLUMNS) - {"amount"} - set(names)):
        raise InvalidInput(f"csv lacks the column {missing[0]}.", param="csv")
    for n, row in enumerate(rows, 1):
        if row and len(row) != len(names):
            raise InvalidInput(
                f"Line {n} has {len(row)} fields, not {len(names)}.", param=f"lines.{n}"
            )
    return [dict(zip(names, row, strict=True)) for row in rows if row]


def billed(row: Any, n: int) -> Billed:
    """Raises InvalidInput naming the line and the field."""
    if not isinstance(row, Mapping):
        raise InvalidInput(f"Line {n} must be an object.", param=f"lines.{n}")
    for name in row:
        if name not in COLUMNS:
            raise wrong(n, str(name)[:40], f"is not a field; known: {', '.join(COLUMNS)}")
    job, unit = text(row, n, "job", 200), text(row, n, "unit", 40)
    quantity, price = number(row, n, "quantity"), number(row, n, "unit_price")
    amount = nano(quantity * price)
    if amount > LARGEST:
        raise wrong(n, "amount", "is beyond what the ledger can keep")
    if row.get("amount") not in (None, ""):
        agree(row, n, quantity * price)
    return Billed(job, unit, quantity, price, amount)


def wrong(n: int, name: str, why: str) -> InvalidInput:
    return InvalidInput(f"Line {n}: {name} {why}.", param=f"lines.{n}.{name}")


def text(row: Mapping[str, Any], n: int, name: str, most: int) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= most:
        raise wrong(n, name, f"must have 1 to {most} characters")
    return value.strip()


def number(row: Mapping[str, Any], n: int, name: str) -> Decimal:
    places, digits = PLACES[name]
    value = decimal(row, n, name)
    exponent = value.normalize().as_tuple().exponent
    if (
        value < 0
        or value.adjusted() >= digits
        or (isinstance(exponent, int) and -exponent > places)
    ):
        raise wrong(n, name, f"must not be negative, with at most {places} decimal places")
    return value


def decimal(row: Mapping[str, Any], n: int, name: str) -> Decimal:
    """Exact: a JSON number with a fraction would not be."""
    value = row.get(name)
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            found = Decimal(str(value).strip())
        except InvalidOperation:
            found = Decimal("NaN")
        if found.is_finite():
            return found
    raise wrong(n, name, 'must be a decimal such as "0.05"')


def agree(row: Mapping[str, Any], n: int, product: Decimal) -> None:
    """The line's own amount is quantity × unit price, in as many places as it is given."""
    said = decimal(row, n, "amount")
    exponent = said.as_tuple().exponent
    step = Decimal(1).scaleb(min(0, exponent if isinstance(exponent, int) else 0))
    if abs(said - product) * 2 > step:
        raise wrong(n, "amount", f"is {said}, and quantity × unit_price is {product.normalize():f}")


def keep(*, lab: Lab, bill: Bill) -> tuple[Invoice, bool]:
    """The invoice and whether it is new. Runs inside the caller's transaction.

    The same file again is the invoice kept first; another one under its reference raises
    IdempotencyConflict.
    """
    Lab.objects.select_for_update().get(pk=lab.pk)
    sha256 = bill.sha256()
    if found := Invoice.objects.filter(lab=lab, reference=bill.reference).first():
        if found.sha256 != sha256:
            raise IdempotencyConflict(
                f"The reference {bill.reference} stands for another invoice.", param="reference"
            )
        return found, False
    with transaction.atomic():
        invoice = Invoice.objects.create(
            lab=lab,
            reference=bill.reference,
            currency=bill.currency,
            start=bill.start,
            end=bill.end,
            amount=sum(line.amount for line in bill.lines),
            sha256=sha256,
        )
        InvoiceLine.objects.bulk_create(rows_of(invoice, bill.lines), batch_size=2000)
    return invoice, True


def rows_of(invoice: Invoice, lines: Sequence[Billed]) -> list[InvoiceLine]:
    return [
        InvoiceLine(
            invoice=invoice,
            position=n,
            job=line.job,
            unit=line.unit,
            quantity=line.quantity,
            unit_price=line.unit_price,
            amount=line.amount,
        )
        for n, line in enumerate(lines, 1)
    ]
