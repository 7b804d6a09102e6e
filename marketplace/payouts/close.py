"""Close a lab's month: its lines, their sums, their hash, and what the ledger moves for it.

One commit, once per period. What is written for the period afterwards is in the next statement,
with its own date.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from marketplace import ids
from marketplace.catalog.models import Lab
from marketplace.errors import Conflict, InvalidInput
from marketplace.ledger.accounts import funding_account
from marketplace.metering.seal import canonical
from marketplace.payouts.figures import Burn, Figures, added, burn
from marketplace.payouts.models import Agreement, Statement, StatementLine

UNTOLD_SQL = "SELECT * FROM untold_lines(%s, %s, %s)"
BOOK_SQL = "SELECT book_owed(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
FIELDS = ("kind", "model", "gross", "owed", "credits", "borne")


@transaction.atomic
def close(
    *, lab: Lab, end: datetime, currency: str = "USD", now: datetime | None = None
) -> Statement:
    """Close what is open of a lab until `end`, the first instant of a month in UTC.

    Raises InvalidInput for an end that is none or is still to come, Conflict where it was closed
    already.
    """
    Lab.objects.select_for_update().get(pk=lab.pk)
    last = last_of(lab, currency)
    check(end, last, now or timezone.now())
    lines = untold(lab, end, currency)
    figures = added(lines)
    burns = burned(last, figures)
    name = ids.uuid7()
    StatementLine.objects.bulk_create(rows_of(name, lines), batch_size=2000)
    book(name, lab, currency, figures, burns)
    spent = sum(each["burned"] for each in burns.values())
    return Statement.objects.create(
        id=name,
        lab=lab,
        currency=currency,
        start=start_of(last, lines, end),
        end=end,
        **{n: getattr(figures, n) for n in ("lines_count", "gross", "refunded", "share", "cost")},
        adjustments=figures.adjustments,
        credits=dict(figures.credits),
        borne=dict(figures.borne),
        guarantees=burns,
        burned=spent,
        payable=figures.due - spent,
        opening=last.opening + last.payable if last else 0,
        sha256=digest(line_json(n, line) for n, line in enumerate(lines)),
    )


def last_of(lab: Lab, currency: str) -> Statement | None:
    return Statement.objects.filter(lab=lab, currency=currency).order_by("-end").first()


def check(end: datetime, last: Statement | None, now: datetime) -> None:
    """Raises InvalidInput, Conflict."""
    if end.tzinfo is None or end.astimezone(UTC) != month_of(end):
        raise InvalidInput("end must be the first instant of a month, UTC.", param="end")
    if end > now:
        raise InvalidInput("This month is not over.", param="end")
    if last and last.end >= end:
        raise Conflict(f"This is closed until {last.end:%Y-%m-%d} already.")


def month_of(moment: datetime) -> datetime:
    """The first instant of its month, UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def start_of(last: Statement | None, lines: list[dict[str, Any]], end: datetime) -> datetime:
    """Where the one before ended, else with the month of the first line."""
    if last:
        return last.end
    return month_of(lines[0]["at"]) if lines else month_of(end - timedelta(days=1))


def untold(lab: Lab, end: datetime, currency: str) -> list[dict[str, Any]]:
    """The lines that no statement has, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(UNTOLD_SQL, [lab.id, currency, end])
        names = [column.name for column in cursor.description or ()]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [
        line | {"credits": json.loads(line["credits"]), "borne": json.loads(line["borne"])}
        for line in found
    ]


def burned(last: Statement | None, figures: Figures) -> dict[str, Burn]:
    """Each guarantee's burn-down: agreement's id → amounts. One that earned nothing stays."""
    before: dict[str, Burn] = last.guarantees if last else {}
    named = {*map(int, before), *figures.earned}
    found = Agreement.objects.filter(id__in=named, guarantee__gt=0).order_by("id")
    return {
        str(each.id): burn(
            each.guarantee,
            before.get(str(each.id), {}).get("earned", 0),
            figures.earned[each.id],
        )
        for each in found
    }


def book(name: UUID, lab: Lab, currency: str, figures: Figures, burns: dict[str, Burn]) -> None:
    """Take what the lab bears of credits, and what its guarantees paid before, off what it is
    owed."""
    moves = [
        (f"promotion:{name}:{funder}", "promotion", funding_account(funder), amount, None)
        for funder, amount in sorted(figures.borne.items())
    ] + [
        (f"guarantee:{name}:{agreement}", "guarantee", f"lab_guarantee:{lab.slug}",
         each["burned"], int(agreement))
        for agreement, each in burns.items()
    ]  # fmt: skip
    note = f"Statement {ids.public('stm', name)}"
    with connection.cursor() as cursor:
        for reference, kind, other, amount, agreement in moves:
            cursor.execute(
                BOOK_SQL,
                [reference, kind, lab.slug, other, currency, -amount, None, agreement, note],
            )


def rows_of(name: UUID, lines: list[dict[str, Any]]) -> Iterator[StatementLine]:
    for position, line in enumerate(lines):
        yield StatementLine(statement_id=name, position=position, **line)


def line_json(position: int, line: Any) -> dict[str, Any]:
    """A line as the export has it; its hash is over these. line: a row, as a dictionary."""
    run = line["run_id"]
    return {
        "line": position,
        "run": ids.public("run", run) if run else None,
        "at": line["at"].astimezone(UTC).isoformat(),
        **{name: line[name] for name in FIELDS},
    }


def digest(lines: Iterator[dict[str, Any]]) -> str:
    """Hex SHA-256 of the lines, each as canonical JSON and a line feed."""
    seal = hashlib.sha256()
    for line in lines:
        seal.update(canonical(line) + b"\n")
    return seal.hexdigest()


def close_due(now: datetime | None = None) -> int:
    """Close every month that is over, of every lab that has an agreement or was ever owed. Gives
    how many statements that made."""
    month, made = month_of(now or timezone.now()), 0
    for lab, currency in sorted(labs_owed(), key=lambda found: (found[0].id, found[1])):
        last = last_of(lab, currency)
        first = untold(lab, month, currency) if last is None else []
        if last is None and not first:
            continue
        end = next_month(last.end if last else month_of(first[0]["at"]))
        while end <= month:
            close(lab=lab, end=end, currency=currency, now=now)
            made, end = made + 1, next_month(end)
    return made


def labs_owed() -> set[tuple[Lab, str]]:
    """Labs and currencies that may have something to be told."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT substr(name, 13), currency FROM ledger_account"
            " WHERE team_id IS NULL AND starts_with(name, 'lab_payable:')"
        )
        owed = cursor.fetchall()
    agreed = Agreement.objects.values_list("lab__slug", "currency").distinct()
    labs = {lab.slug: lab for lab in Lab.objects.all()}
    return {(labs[slug], currency) for slug, currency in {*owed, *agreed} if slug in labs}
