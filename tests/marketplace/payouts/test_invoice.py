"""A supplier's invoice: read exactly or refused, brought in once, held against our runs."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Lab
from marketplace.errors import Conflict, IdempotencyConflict, InvalidInput
from marketplace.money import NANO
from marketplace.payouts.differences import settle_difference, waiting
from marketplace.payouts.invoice import read
from marketplace.payouts.models import Difference, Invoice
from marketplace.runs.invoices import bring
from marketplace.runs.margin import margin
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace.payouts.selling import COST, PICTURE, faults, owed, sell
from tests.marketplace.payouts.test_close import closed

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = timezone.now().date()
HEAD = {"reference": "INV-7", "from": str(TODAY), "to": str(TODAY + timedelta(days=2))}
Line = dict[str, Any]


def line(job: str = "j1", **more: Any) -> Line:
    usual = {"job": job, "unit": "image", "quantity": "2", "unit_price": "0.0012"}
    return usual | {"amount": "0.0024"} | more


def bill(*lines: Line, **more: Any) -> dict[str, Any]:
    return HEAD | {"lines": list(lines)} | more


def sold(person: Person, count: int, job: str) -> UUID:
    run = sell(person, count)
    Run.objects.filter(id=run).update(ticket={"job": job})
    return run


def brought(lab: Lab, *lines: Line, **more: Any) -> list[tuple[str, str, int, int]]:
    """The differences: kind, place, billed, expected."""
    invoice, _ = bring(lab=lab, bill=read(bill(*lines, **more)))
    told = invoice.differences.order_by("place")
    return list(told.values_list("kind", "place", "billed", "expected"))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"reference": ""}, "reference"), ({"reference": 7}, "reference"), ({"from": "x"}, "from"),
    ({"to": HEAD["from"]}, "to"), ({"to": None}, "to"), ({"currency": "EUR"}, "currency"),
    ({"lines": []}, "lines"), ({"lines": "x"}, "lines"), ({"csv": "job"}, "lines"),
    ({"lines": [line(), 5]}, "lines.2"), ({"lines": [line(job=" ")]}, "lines.1.job"),
    ({"lines": [line(), line(quantity="-1")]}, "lines.2.quantity"),
    ({"lines": [line(quantity=0.1)]}, "lines.1.quantity"),
    ({"lines": [line(quantity="0.0000001")]}, "lines.1.quantity"),
    ({"lines": [line(quantity="NaN")]}, "lines.1.quantity"),
    ({"lines": [line(quantity=True)]}, "lines.1.quantity"),
    ({"lines": [line(unit_price="1e400")]}, "lines.1.unit_price"),
    ({"lines": [line(unit_price="0.00000000000001")]}, "lines.1.unit_price"),
    ({"lines": [line(unit=None)]}, "lines.1.unit"),
    ({"lines": [line(amount="0.0025")]}, "lines.1.amount"),
    ({"lines": [line(amount="much")]}, "lines.1.amount"),
    ({"lines": [line(quantity="9e12", unit_price="9e9", amount=None)]}, "lines.1.amount"),
    ({"lines": [line(tip="1")]}, "lines.1.tip"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "param"), WRONG)
def test_a_bad_file_is_refused_with_its_line_and_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read(bill(line()) | more)
    assert refusal.value.param == param
    if param.startswith("lines."):
        assert f"Line {param.split('.')[1]}" in refusal.value.message


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("", "csv"),
        ("job,unit,quantity\nj,image,1\n", "csv"),
        ("job,unit,quantity,unit_price\nj,image,1\n", "lines.1"),
        ("job,unit,quantity,unit_price\nj,image,1,2\nj,image,one,2\n", "lines.2.quantity"),
        (5, "csv"),
    ],
)
def test_a_bad_csv_too(text: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read(HEAD | {"csv": text})
    assert refusal.value.param == param


def test_json_and_csv_say_the_same() -> None:
    text = "\ufeffjob,unit,quantity,unit_price,amount\r\nj1,image,2,0.0012,0.0024\r\n\r\n"
    assert read(HEAD | {"csv": text}) == read(bill(line()))
    assert read(bill(line(amount="0.00"))).lines[0].amount == 2_400_000  # told in cents


def test_an_invoice_that_says_what_we_booked_differs_in_nothing(ada: Person, lab: Lab) -> None:
    sold(ada, 2, "j1")
    run = sold(ada, 1, "j2")
    sell(ada, 1, delivered=0)
    named = line(ids.public("run", run), quantity=1, amount="0.0012")
    assert brought(lab, line("j1"), named) == []
    assert Invoice.objects.get().amount == 3 * COST == owed()


def test_each_kind_of_difference_is_found_with_evidence(ada: Person, lab: Lab) -> None:
    sold(ada, 2, "dear")
    sold(ada, 1, "more")
    sold(ada, 3, "right")
    lacking = sold(ada, 4, "lacking")
    found = brought(
        lab,
        line("dear", unit_price="0.002", amount="0.004"),
        line("more", quantity="3", amount="0.0036"),
        line("right", quantity="3", amount="0.0036"),
        line("strange"),
    )
    name = ids.public("run", lacking)
    assert found == sorted([
        ("rate", "dear", 4_000_000, 2 * COST),
        ("units", "more", 3 * COST, COST),
        ("missing", name, 0, 4 * COST),
        ("extra", "strange", 2 * COST, 0),
    ], key=lambda told: told[1])  # fmt: skip
    told = Difference.objects.get(kind="units").evidence
    assert told["run"]["expected"] == {"image": {"quantity": "1", "unit_price": "0.0012"}}
    assert told["run"]["witnesses"]["image"]["measured"].startswith("1.0")
    assert told["lines"][0]["line"] == 2
    assert len(waiting()) == 4


def test_a_job_that_is_billed_twice_is_paid_once(ada: Person, lab: Lab) -> None:
    run = sold(ada, 2, "j1")
    assert brought(lab, line(), line()) == [("extra", "j1", 4 * COST, 2 * COST)]
    both = brought(lab, line(), line(ids.public("run", run)), reference="INV-8")
    assert both == [("extra", ids.public("run", run), 2 * COST, 0)]


def test_the_next_invoice_lacks_nothing_that_was_billed_before(ada: Person, lab: Lab) -> None:
    sold(ada, 2, "j1")
    assert brought(lab, line()) == []
    sold(ada, 2, "j2")
    assert brought(lab, line("j2"), reference="INV-8") == []


def test_another_labs_job_is_none_of_this_one_s(ada: Person, lab: Lab) -> None:
    sold(ada, 2, "j1")
    other = Lab.objects.create(slug="other", name="Other")
    assert brought(other, line()) == [("extra", "j1", 2 * COST, 0)]


def test_the_same_file_again_changes_nothing(ada: Person, lab: Lab) -> None:
    first, new = bring(lab=lab, bill=read(bill(line("strange"))))
    again, anew = bring(lab=lab, bill=read(bill(line("strange", amount=None))))
    assert (first, new, anew) == (again, True, False)
    with pytest.raises(IdempotencyConflict) as refusal:
        bring(lab=lab, bill=read(bill(line("strange", quantity="3", amount=None))))
    assert refusal.value.param == "reference"
    assert (Invoice.objects.count(), Difference.objects.count()) == (1, 1)


def test_what_was_billed_is_kept(lab: Lab) -> None:
    bring(lab=lab, bill=read(bill(line())))
    for sql in ("UPDATE payouts_invoiceline SET amount = 1", "DELETE FROM payouts_invoice"):
        with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(sql)


def test_a_decision_is_booked_once_and_reaches_statement_and_margin(
    ada: Person, lab: Lab, rook: User
) -> None:
    run = sold(ada, 2, "dear")
    sold(ada, 1, "more")
    brought(
        lab,
        line("dear", unit_price="0.0015", amount="0.003"),
        line("more", quantity="3", amount="0.0036"),
    )
    dear, more = Difference.objects.get(kind="rate"), Difference.objects.get(kind="units")
    with pytest.raises(InvalidInput):
        settle_difference(difference=dear, accepted=True, admin=rook, why=" ")
    settle_difference(difference=dear, accepted=True, admin=rook, why="their letter of May")
    settle_difference(difference=more, accepted=False, admin=rook, why="one was delivered")
    with pytest.raises(Conflict, match="accepted already"):
        settle_difference(difference=dear, accepted=False, admin=rook, why="x")
    assert waiting() == []
    found = margin(run)
    assert (found["cost"], found["margin"]) == (3_000_000, 2 * PICTURE - 3_000_000)
    made = closed(lab)
    assert (made.cost, made.adjustments, made.payable) == (3 * COST, 600_000, 3 * COST + 600_000)
    assert made.payable == owed()
    assert faults() == []


def test_an_invoice_is_brought_in_on_the_server(
    ada: Person, lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sold(ada, 2, "j1")
    said = tmp_path / "may.json"
    said.write_text(json.dumps(bill(line(), line("strange"))))
    call_command("import_invoice", str(said), "--lab", "rehearsal")
    out = capsys.readouterr().out
    assert "brought in, 1 differences" in out
    assert "extra  strange  billed $0.0024 USD, owed $0.00 USD  open" in out
    table = tmp_path / "june.csv"
    table.write_text("job,unit,quantity,unit_price\nj,image,x,1\n")
    with pytest.raises(CommandError, match="Line 1: quantity"):
        call_command(
            "import_invoice", str(table), "--lab", "rehearsal", "--reference", "8",
            "--from", "2026-06-01", "--to", "2026-07-01",
        )  # fmt: skip
    assert Invoice.objects.count() == 1
    assert owed() < NANO
