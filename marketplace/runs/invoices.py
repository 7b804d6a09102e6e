"""Hold a supplier's invoice against our runs: rate, units, extra, missing, each with evidence.

A job is found by the lab's own name for it, which its receipt gave us, or by our run's id. What a
run owes is what its settlement booked; the tariff of its hold says of what that is made.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from marketplace import ids
from marketplace.catalog.models import Lab
from marketplace.metering import tariff
from marketplace.metering.outcomes import rule_of
from marketplace.metering.quote import counted_units, decimal, priced_lines
from marketplace.metering.terms import Unpriceable
from marketplace.metering.units import Facts
from marketplace.payouts.invoice import Bill, keep
from marketplace.payouts.models import Difference, Invoice, InvoiceLine
from marketplace.runs.connections import Row, rows
from marketplace.runs.statement import first_id

AROUND = timedelta(days=2)  # a job is billed at its end, a run named at its beginning
NONE = "no run of ours has this job"
TWICE = "the invoice bills this job more than once"
AGAIN = "the invoice bills this run under another name too"
SHARED = "its agreement is a share of charges, so it bills nothing"
RUNS_SQL = """
SELECT r.id, r.ticket ->> 'job' AS job, l.slug || '/' || m.slug AS model, r.outcome, r.inputs,
       r.created_at, r.finished_at, e.timeout_seconds, e.facts, f.version AS tariff_version,
       f.lines, f.policy, coalesce(booked.owed, 0)::bigint AS owed,
       coalesce(g.basis IN ('gross', 'net'), false) AS shared,
       (SELECT coalesce(jsonb_object_agg(u.unit, jsonb_build_object(
                   'requested', u.requested::text, 'reported', u.reported::text,
                   'measured', u.measured::text)), '{}')
          FROM metering_meterevent u WHERE u.run_id = r.id) AS witnesses
  FROM runs_run r
  JOIN catalog_release e ON e.id = r.release_id
  JOIN catalog_model m ON m.id = e.model_id
  JOIN catalog_lab l ON l.id = m.lab_id
  LEFT JOIN metering_tariff f ON f.release_id = r.release_id AND f.currency = %(currency)s
       AND f.effective_from <= r.created_at
       AND (f.effective_to IS NULL OR f.effective_to > r.created_at)
  LEFT JOIN payouts_agreement g ON g.lab_id = l.id AND g.currency = %(currency)s
       AND g.effective_from <= r.created_at
       AND (g.effective_to IS NULL OR g.effective_to > r.created_at)
  LEFT JOIN LATERAL (
       SELECT sum(n.amount) AS owed
         FROM ledger_transfer t
         JOIN ledger_entry n ON n.transfer_id = t.id
         JOIN ledger_account a ON a.id = n.account_id AND a.team_id IS NULL
              AND a.name = 'lab_payable:' || l.slug AND a.currency = %(currency)s
        WHERE t.run_id = r.id AND t.kind = 'cost') booked ON true
 WHERE l.id = %(lab)s AND r.id >= %(first)s AND r.id < %(last)s AND r.finished_at IS NOT NULL
   AND (r.ticket ->> 'job' = ANY(%(jobs)s) OR r.id = ANY(%(ids)s)
        OR (booked.owed > 0 AND r.finished_at >= %(start)s AND r.finished_at < %(end)s))
"""


@transaction.atomic
def bring(*, lab: Lab, bill: Bill) -> tuple[Invoice, bool]:
    """Keep an invoice with its differences; whether it is new. The same again changes nothing."""
    invoice, new = keep(lab=lab, bill=bill)
    if new:
        Difference.objects.bulk_create(differences(invoice), batch_size=500)
    return invoice, new


def differences(invoice: Invoice) -> list[Difference]:
    """All that differs, by job; then what the invoice lacks."""
    lines: dict[str, list[InvoiceLine]] = defaultdict(list)
    for line in invoice.lines.order_by("position"):
        lines[line.job].append(line)
    runs = runs_of(invoice, list(lines))
    by_job = {run["job"]: run for run in runs} | {ids.public("run", run["id"]): run for run in runs}
    found, seen = [], set[UUID]()
    for job, told in lines.items():
        run = by_job.get(job)
        if run is None or run["id"] in seen:
            found.append(extra(invoice, job, told, NONE if run is None else AGAIN, run))
            continue
        seen.add(run["id"])
        found += [each for each in [compared(invoice, job, told, run)] if each]
    lacking = [run for run in runs if run["id"] not in seen and is_due(invoice, run)]
    return found + [missing(invoice, run) for run in lacking]


def runs_of(invoice: Invoice, jobs: Sequence[str]) -> list[Row]:
    """The runs that it names, and those of its period that owe something."""
    start, end = midnight(invoice.start), midnight(invoice.end)
    asked = {
        "lab": invoice.lab_id,
        "currency": invoice.currency,
        "jobs": list(jobs),
        "ids": [found for job in jobs if (found := ids.private("run", job))],
        "first": first_id(start - AROUND, 0),
        "last": first_id(end + AROUND, 0),
        "start": start,
        "end": end,
    }
    return rows((RUNS_SQL, asked))


def is_due(invoice: Invoice, run: Row) -> bool:
    """Whether this invoice should have billed the run, and none before it did."""
    if not run["owed"] or not midnight(invoice.start) <= run["finished_at"] < midnight(invoice.end):
        return False
    names = [name for name in (run["job"], ids.public("run", run["id"])) if name]
    earlier = InvoiceLine.objects.filter(invoice__lab_id=invoice.lab_id, job__in=names)
    return not earlier.exists()


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def compared(invoice: Invoice, job: str, told: list[InvoiceLine], run: Row) -> Difference | None:
    """None where the invoice bills what was booked."""
    billed = sum(line.amount for line in told)
    if len({line.unit for line in told}) < len(told):
        return extra(invoice, job, told, TWICE, run, expected=run["owed"])
    if run["shared"]:
        return extra(invoice, job, told, SHARED, run)
    if billed == run["owed"]:
        return None
    ours = expected(run)
    rates = {unit: price for unit, (_, price) in ours.items()}
    other = [line for line in told if differs(rates, line)]
    kind = Difference.Kind.RATE if other else Difference.Kind.UNITS
    return made(invoice, kind, job, run, told, "", run["owed"])


def differs(rates: Mapping[str, str | None], line: InvoiceLine) -> bool:
    """Whether a line's unit is none of the tariff's, or has one price there and another here."""
    rate = rates.get(line.unit, "-1")
    return rate is not None and Decimal(rate) != line.unit_price


def expected(run: Row) -> dict[str, tuple[str, str | None]]:
    """What its tariff says of a run: unit → quantity and unit price; empty where it cannot."""
    lines, rule = run["lines"] or [], rule_of(run["policy"] or {}, run["outcome"])
    if rule == "nothing" or not lines:
        return {}
    facts = Facts(run["timeout_seconds"], run["facts"])
    said: Mapping[str, Mapping[str, str | None]] = run["witnesses"]
    used = tariff.Used(of(said, "reported"), of(said, "measured"), Decimal(0))
    try:
        counted = {
            unit: tariff.owed(rule, unit, run["inputs"], facts, used)
            for unit in counted_units(lines)
        }
        found = priced_lines(lines, counted, run["inputs"], run["created_at"])
    except (Unpriceable, ArithmeticError, KeyError):
        return {}
    return {
        line.unit: (
            decimal(line.quantity),
            None if line.unit_price is None else decimal(line.unit_price),
        )
        for line in found
    }


def of(said: Mapping[str, Mapping[str, str | None]], name: str) -> dict[str, Decimal]:
    """What one witness says, unit → quantity."""
    return {unit: Decimal(each[name] or 0) for unit, each in said.items() if each[name] is not None}


def extra(
    invoice: Invoice,
    job: str,
    told: list[InvoiceLine],
    why: str,
    run: Row | None,
    *,
    expected: int = 0,
) -> Difference:
    return made(invoice, Difference.Kind.EXTRA, job, run, told, why, expected)


def missing(invoice: Invoice, run: Row) -> Difference:
    name = ids.public("run", run["id"])
    return made(invoice, Difference.Kind.MISSING, name, run, [], "", run["owed"])


def made(
    invoice: Invoice,
    kind: str,
    place: str,
    run: Row | None,
    told: Sequence[InvoiceLine],
    why: str,
    expected: int,
) -> Difference:
    return Difference(
        invoice=invoice,
        kind=kind,
        place=place,
        run_id=run["id"] if run else None,
        model=run["model"] if run else "",
        billed=sum(line.amount for line in told),
        expected=expected,
        evidence={"why": why, "lines": [line_json(line) for line in told], "run": ours_json(run)},
    )


def line_json(line: InvoiceLine) -> dict[str, Any]:
    return {
        "line": line.position,
        "unit": line.unit,
        "quantity": f"{line.quantity.normalize():f}",
        "unit_price": f"{line.unit_price.normalize():f}",
        "amount_nano": line.amount,
    }


def ours_json(run: Row | None) -> dict[str, Any] | None:
    """What we know of a run."""
    if run is None:
        return None
    return {
        "run": ids.public("run", run["id"]),
        "job": run["job"],
        "outcome": run["outcome"],
        "finished_at": run["finished_at"].isoformat(),
        "owed_nano": run["owed"],
        "tariff": run["tariff_version"],
        "expected": {
            unit: {"quantity": quantity, "unit_price": price}
            for unit, (quantity, price) in expected(run).items()
        },
        "witnesses": run["witnesses"],
    }
