"""The FOCUS export has the specification's columns, types and nulls, and the ledger's sum."""

import csv
import io
import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.ledger.models import Entry
from marketplace.ledger.refund import refund
from marketplace.runs.models import Run
from marketplace.runs.usage import fold
from tests.conftest import Person
from tests.marketplace.pages.test_pages import logged_in
from tests.marketplace.runs.test_usage import paid
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)
SPEC: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("focus-1.2.json").read_text()
)["columns"]  # fmt: skip
WHOLE = re.compile(r"-?\d+(\.\d+)?")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Rows = list[dict[str, str]]


def read(body: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(body.decode())))


@pytest.fixture
def exported(web: Client, ada: Person, cy: Person, still: Release) -> Rows:
    """Two runs with a key for a film, one from the playground, two refunds, another team's run."""
    first, second = paid(ada, 3), paid(ada, 2)
    Run.objects.update(key_id=ada.key.id, project="film")
    fold()
    paid(ada)
    paid(cy)
    refund(run=first, amount=500_001, reference="r", note="half a picture")
    with connection.cursor() as cursor:  # as if it had been charged two months ago
        cursor.execute(
            "UPDATE ledger_hold SET closed_at = closed_at - interval '2 months', closed_xid ="
            " pg_current_xact_id() WHERE run_id = %s",
            [second],
        )
        cursor.execute("SELECT rebuild_usage()")
    refund(run=second, amount=None, reference="s", note="")
    answer = web.get(f"/api/v1/usage/focus?first={earlier()}", key=ada.text)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return read(answer.body)


def earlier() -> str:
    return str(timezone.now().date() - timedelta(days=100))


def test_the_sum_is_what_the_ledger_took(exported: Rows, ada: Person) -> None:
    moved = Entry.objects.filter(account__team=ada.team, transfer__kind__in=["charge", "refund"])
    took = -moved.aggregate(sum=Sum("amount"))["sum"]
    assert sum(Decimal(row["BilledCost"]) for row in exported) * 10**9 == took == 7_499_999


def test_columns_types_and_nulls_are_the_specifications(exported: Rows) -> None:
    known = {column["name"]: column for column in SPEC}
    names = list(exported[0])
    assert [c["name"] for c in SPEC if c["level"] == "Mandatory" and c["name"] not in names] == []
    assert [name for name in names if name not in known and not name.startswith("x_")] == []
    for row in exported:
        for name in names:
            if name in known:
                check(known[name], row[name])


def check(column: dict[str, Any], value: str) -> None:
    if value == "":
        assert column["nulls"], column
    elif column["type"] == "Decimal":
        assert WHOLE.fullmatch(value), column
    elif column["type"] == "Date/Time":
        assert MOMENT.fullmatch(value), column
    elif column["type"] == "JSON":
        assert isinstance(json.loads(value), dict), column
    if value and "values" in column:
        assert value in column["values"], column


def test_usage_and_refunds_follow_the_conditional_rules(exported: Rows) -> None:
    kinds = sorted((row["ChargeCategory"], row["ChargeClass"]) for row in exported)
    assert kinds == [("Credit", ""), ("Credit", "Correction")] + [("Usage", "")] * 3
    for row in exported:
        used = row["ChargeCategory"] == "Usage"
        quantities = ("ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit")
        assert all(bool(row[name]) == used for name in quantities)
        assert (Decimal(row["BilledCost"]) > 0) == used
        if row["ListUnitPrice"]:
            quantity = Decimal(row["PricingQuantity"])
            assert quantity * Decimal(row["ListUnitPrice"]) == Decimal(row["ListCost"])
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"]


def test_a_row_says_whose_it_is(exported: Rows, ada: Person, still: Release) -> None:
    [film] = [row for row in exported if row["BilledCost"] == "0.006"]
    assert json.loads(film["Tags"]) == {"project": "film"}
    assert (film["SubAccountId"], film["SubAccountName"]) == (ada.key.public_id, "ada")
    assert (film["ConsumedQuantity"], film["ConsumedUnit"]) == ("3", "Images")
    assert (film["SkuId"], film["ListUnitPrice"]) == (still.full_name, "0.002")
    assert film["BillingAccountId"] == ada.team.public_id


def test_nothing_is_a_head_alone_and_wrong_days_are_named(web: Client, ada: Person) -> None:
    assert read(web.get("/api/v1/usage/focus", key=ada.text).body) == []
    answer = web.get("/api/v1/usage/focus?first=x", key=ada.text)
    assert (answer.status, answer.error["param"]) == (422, "first")
    assert logged_in(ada).get("/usage/focus.csv?to=x").status_code == 400
