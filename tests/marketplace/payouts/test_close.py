"""A month is closed once, adds up to the ledger, and what comes later is in the next statement."""

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from marketplace.catalog import lab_keys
from marketplace.catalog.models import Lab
from marketplace.errors import Conflict, InvalidInput
from marketplace.ledger.models import Entry
from marketplace.ledger.refund import refund
from marketplace.ledger.transfer import grant_credit
from marketplace.payouts.agree import agree
from marketplace.payouts.close import close, close_due, month_of, next_month
from marketplace.payouts.export import as_json
from marketplace.payouts.figures import burn
from marketplace.payouts.models import Agreement, Statement, StatementLine
from tests.conftest import Person
from tests.marketplace.payouts.selling import COST, PICTURE, faults, owed, sell
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

END = next_month(month_of(timezone.now()))  # the month of the tests is over then
LATER = END + timedelta(days=1)
LAB = "/api/v1/lab"


def closed(lab: Lab, months: int = 1) -> Statement:
    """The statement of the month of the tests, or of one after it."""
    end = END
    for _ in range(months - 1):
        end = next_month(end)
    return close(lab=lab, end=end, now=end)


def test_a_statement_tells_every_run_and_adds_up_to_the_ledger(
    ada: Person, lab: Lab, seventy: Agreement
) -> None:
    runs = [sell(ada, count) for count in (1, 2, 3)]
    sell(ada, 1, delivered=0)
    refund(run=runs[1], amount=1_000_001, reference="r", note="")
    made = closed(lab)
    assert (made.gross, made.refunded) == (6 * PICTURE, 1_000_001)
    assert made.share == made.payable == owed() == 8_400_000 - 700_000
    assert (made.cost, made.adjustments, made.burned, made.borne) == (0, 0, 0, {})
    lines = list(made.lines.order_by("position"))
    assert [line.run_id for line in lines] == [*runs, runs[1]]
    assert [(line.kind, line.gross, line.owed) for line in lines][2:] == [
        ("charge", 3 * PICTURE, 4_200_000), ("refund", -1_000_001, -700_000),
    ]  # fmt: skip
    assert made.credits == {"kinora": 6 * PICTURE - 1_000_001}
    assert (made.start, made.end) == (month_of(timezone.now()), END)
    assert faults() == []


def test_what_comes_late_is_in_the_next_statement(
    ada: Person, lab: Lab, seventy: Agreement
) -> None:
    run = sell(ada)
    first = closed(lab)
    refund(run=run, amount=None, reference="late", note="")
    sell(ada, 2)
    second = closed(lab, 2)
    assert (second.start, second.opening) == (first.end, first.payable)
    assert [line.kind for line in second.lines.order_by("position")] == ["refund", "charge"]
    assert second.lines.get(kind="refund").at < first.end
    assert (first.payable, second.payable) == (1_400_000, 2_800_000 - 1_400_000)
    assert first.payable + second.payable == owed()
    third = closed(lab, 3)
    assert (third.lines_count, third.payable, third.opening) == (0, 0, owed())
    assert faults() == []


def test_what_is_of_the_next_month_waits_for_it(ada: Person, lab: Lab, seventy: Agreement) -> None:
    sell(ada)
    before = close(lab=lab, end=month_of(timezone.now()))
    assert (before.lines_count, before.payable) == (0, 0)
    assert closed(lab).payable == 1_400_000
    assert faults() == []


def test_a_month_is_closed_once_and_never_before_it_is_over(lab: Lab, seventy: Agreement) -> None:
    with pytest.raises(InvalidInput, match="not over"):
        close(lab=lab, end=END, now=END - timedelta(seconds=1))
    with pytest.raises(InvalidInput, match="first instant of a month"):
        close(lab=lab, end=END + timedelta(hours=1), now=LATER)
    closed(lab)
    with pytest.raises(Conflict, match="closed until"):
        closed(lab)
    assert Statement.objects.count() == 1


@pytest.mark.parametrize("table", ["payouts_statement", "payouts_statementline"])
def test_the_database_keeps_what_is_closed(
    ada: Person, lab: Lab, seventy: Agreement, table: str
) -> None:
    sell(ada)
    closed(lab)
    for sql in (f"DELETE FROM {table}", f"UPDATE {table} SET gross = 1"):
        with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(sql)


def test_by_unit_cost_a_lab_is_owed_what_its_tariff_says(ada: Person, lab: Lab) -> None:
    agree(lab=lab, basis="unit_cost")
    sell(ada, 3)
    made = closed(lab)
    assert (made.gross, made.share, made.cost, made.payable) == (3 * PICTURE, 0, 3 * COST, 3 * COST)
    assert owed() == 3 * COST
    assert faults() == []


def test_labs_without_an_agreement_get_statements_of_their_tariffs(ada: Person, lab: Lab) -> None:
    sell(ada, 2)
    assert close_due(now=LATER) == 1
    assert Statement.objects.get().payable == 2 * COST
    assert faults() == []


@pytest.mark.parametrize(
    ("promotions", "borne"),
    [
        ("giver", {"rehearsal": 1_500_000}),
        ("kinora", {}),
        ("lab", {"rehearsal": 1_500_000, "kinora": 500_000}),
    ],
)
def test_of_the_gross_a_lab_pays_once_for_the_credits_that_it_funds(
    ada: Person, lab: Lab, promotions: str, borne: dict[str, int]
) -> None:
    agree(lab=lab, basis="gross", percent="70", promotions=promotions)
    grant_credit(
        team=ada.team, amount=1_500_000, name="Launch", reference="l", expires_at=None,
        scope=["rehearsal"], funder="rehearsal",
    )  # fmt: skip
    sell(ada)
    made = closed(lab)
    assert made.credits == {"rehearsal": 1_500_000, "kinora": 500_000}
    assert (made.borne, made.share) == (borne, 1_400_000)
    assert made.payable == owed() == 1_400_000 - sum(borne.values())
    paid = Entry.objects.filter(transfer__kind="promotion", amount__gt=0)
    assert dict(paid.values_list("account__name", "amount")) == {
        f"promo_funding:{funder}": amount for funder, amount in borne.items()
    }
    assert faults() == []


def test_earnings_burn_a_guarantee_down_before_more_is_payable(ada: Person, lab: Lab) -> None:
    agreement = agree(lab=lab, basis="gross", percent="70", guarantee=2_000_000)
    run = sell(ada)
    first = closed(lab)
    assert (first.share, first.burned, first.payable) == (1_400_000, 1_400_000, 0)
    sell(ada)
    second = closed(lab, 2)
    assert (second.burned, second.payable) == (600_000, 800_000)
    assert second.guarantees[str(agreement.id)] == {
        "guaranteed": 2_000_000, "earned": 2_800_000, "burned": 600_000, "left": 0,
    }  # fmt: skip
    refund(run=run, amount=None, reference="r", note="")
    third = closed(lab, 3)
    assert (third.share, third.burned, third.payable) == (-1_400_000, -600_000, -800_000)
    assert owed() == first.payable + second.payable + third.payable
    guaranteed = Entry.objects.filter(account__name="lab_guarantee:rehearsal")
    assert list(guaranteed.values_list("amount", flat=True)) == [1_400_000, 600_000, -600_000]
    assert faults() == []


@given(guaranteed=st.integers(0, 50), earned=st.lists(st.integers(-40, 60), max_size=8))
def test_a_guarantee_is_never_burned_beyond_what_it_is(guaranteed: int, earned: list[int]) -> None:
    total = burned = 0
    for each in earned:
        found = burn(guaranteed, total, each)
        total, burned = total + each, burned + found["burned"]
        assert burned == min(max(0, total), guaranteed) == guaranteed - found["left"]


def test_months_are_closed_by_themselves_in_order(
    ada: Person, lab: Lab, seventy: Agreement
) -> None:
    sell(ada)
    assert close_due(now=END - timedelta(seconds=1)) == 0
    third = next_month(next_month(END))
    assert [close_due(now=third), close_due(now=third)] == [3, 0]
    ends = Statement.objects.order_by("end").values_list("end", flat=True)
    assert list(ends) == [END, next_month(END), third]
    assert faults() == []


def test_a_december_is_followed_by_a_january() -> None:
    assert next_month(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


# ── over the API ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def books(lab: Lab) -> str:
    return lab_keys.create(lab=lab, name="books", role="finance")[1]


def test_a_lab_reads_and_exports_its_statement(
    web: Client, ada: Person, lab: Lab, seventy: Agreement, books: str
) -> None:
    sell(ada, 2)
    made = closed(lab)
    refund(run=made.lines.get().run_id, amount=1_000, reference="r", note="")
    path = f"{LAB}/statements/{made.public_id}"
    told = web.get(path, key=books).json
    assert (told["payable"]["nano"], told["closing"]["amount"]) == (2_800_000, "0.0028")
    listed = web.get(f"{LAB}/statements", key=books).json
    assert listed["data"] == [told]
    assert (listed["open"]["refunded"]["nano"], listed["open"]["due"]["nano"]) == (1_000, -700)
    page = web.get(f"{path}/lines?limit=1", key=books).json
    assert [line["owed"] for line in page["data"]] == [2_800_000]
    assert page["next_cursor"] is None
    text = web.get(f"{path}/export", key=books).body
    head, *lines, total = text.splitlines(keepends=True)
    assert json.loads(head)["statement"] == made.public_id
    assert [json.loads(line) for line in lines] == page["data"]
    assert hashlib.sha256(b"".join(lines)).hexdigest() == json.loads(total)["sha256"] == made.sha256
    [row] = csv.DictReader(io.StringIO(web.get(f"{path}/export?as=csv", key=books).body.decode()))
    assert (row["gross"], row["owed"], row["credits"]) == ("0.004", "0.0028", "kinora=0.004")


def test_long_statements_come_in_pages(
    web: Client, ada: Person, lab: Lab, seventy: Agreement, books: str
) -> None:
    for _ in range(3):
        sell(ada)
    made = closed(lab)
    path = f"{LAB}/statements/{made.public_id}/lines"
    first = web.get(f"{path}?limit=2", key=books).json
    rest = web.get(f"{path}?cursor={first['next_cursor']}", key=books).json
    assert [line["line"] for line in first["data"] + rest["data"]] == [0, 1, 2]
    assert len(list(as_json(made))) == 5


def test_agreements_are_told_by_role_and_wrong_queries_named(
    web: Client, lab: Lab, seventy: Agreement, books: str
) -> None:
    [told] = web.get(f"{LAB}/agreements", key=books).json["data"]
    assert (told["basis"], told["percent"], told["version"]) == ("gross", "70.00", 1)
    assert told["guarantee"]["nano"] == 0
    made = closed(lab)
    _, viewer = lab_keys.create(lab=lab, name="x", role="viewer")
    paths = ("agreements", "statements", f"statements/{made.public_id}/export")
    for path in paths:
        answer = web.get(f"{LAB}/{path}", key=viewer)
        assert (answer.status, answer.error["right"]) == (403, "money")
    wrong = {"lines?limit=0": "limit", "lines?cursor=x": "cursor", "export?as=pdf": "as"}
    for query, param in wrong.items():
        answer = web.get(f"{LAB}/statements/{made.public_id}/{query}", key=books)
        assert (answer.status, answer.error["param"]) == (422, param)
    assert StatementLine.objects.count() == 0
