"""What a lab is told of accounts and of its runs: no single account, whatever it asks."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from marketplace.accounts.models import Team
from marketplace.catalog import lab_keys
from marketplace.catalog.models import Release
from marketplace.errors import InvalidInput
from marketplace.runs.demand import demand, rounded, told
from marketplace.runs.models import UsageDay
from tests.conftest import Person
from tests.marketplace.payouts.selling import sell
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def used(release: Release, teams: list[Team], day: str, *, paid: bool = True) -> None:
    price = release.prices.get().id
    UsageDay.objects.bulk_create(
        UsageDay(
            team=team, day=day, price_id=price, project="", currency="USD", unit="image",
            runs=1, charged_runs=int(paid), charged=0, given_back=0, refunded=0, quantity=1,
        )
        for team in teams
    )  # fmt: skip


@pytest.fixture
def teams(db: None) -> list[Team]:
    return Team.objects.bulk_create(Team(name=f"Team {n}") for n in range(37))


def test_accounts_that_try_pay_and_come_back_are_told_in_tens(
    still: Release, teams: list[Team]
) -> None:
    used(still, teams[:25], "2026-07-31")
    used(still, teams[4:37], "2026-08-01", paid=False)
    used(still, teams[4:22], "2026-08-31")
    [found] = demand(still.model.lab, "2026-08", NOW)
    assert found == {
        "model": "rehearsal/still",
        "tried": 30,  # 33
        "paid": 10,  # 18
        "before": 20,  # 25
        "back": 20,  # 21
        "conversion": 0.33,
        "retention": 1.0,
    }


def test_few_accounts_are_told_by_nothing(still: Release, teams: list[Team]) -> None:
    used(still, teams[:9], "2026-08-10")
    [found] = demand(still.model.lab, "2026-08", NOW)
    assert {found[name] for name in found if name != "model"} == {None}
    assert demand(still.model.lab, "2026-05", NOW) == []


@given(accounts=st.integers(0, 400))
def test_no_figure_tells_apart_fewer_than_ten_accounts(accounts: int) -> None:
    shown = rounded(accounts)
    alike = [n for n in range(500) if rounded(n) == shown]
    assert len(alike) == 10
    assert accounts in alike


@given(figures=st.lists(st.integers(0, 60), min_size=4, max_size=4))
def test_rates_tell_no_more_than_the_figures(figures: list[int]) -> None:
    row = dict(zip(("tried", "paid", "before", "back"), figures, strict=True))
    floor = {name: n - n % 10 for name, n in row.items()}
    assert told({"model": "x"} | row) == told({"model": "x"} | floor)


@pytest.mark.parametrize(
    "month", ["2026-09", "2027-01", "", "x", "2026-9", "2026-13", "2026-09-01"]
)
def test_only_whole_months_that_are_over_are_told(still: Release, month: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        demand(still.model.lab, month, NOW)
    assert refusal.value.param == "month"


def test_what_is_not_folded_yet_counts_too(still: Release, ada: Person, cy: Person) -> None:
    for person in (ada, cy, ada):
        sell(person)
    month, later = timezone.now().strftime("%Y-%m"), datetime(2999, 1, 1, tzinfo=UTC)
    [found] = demand(still.model.lab, month, later)
    assert found["tried"] is None  # two are too few


# ── over the API ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def owner(still: Release) -> str:
    return lab_keys.create(lab=still.model.lab, name="first", role="owner")[1]


def test_a_lab_sees_how_its_releases_do(
    web: Client, ada: Person, still: Release, glyph: Release, owner: str
) -> None:
    sell(ada, 1)
    sell(ada, 2, delivered=1)
    sell(ada, 1, delivered=0)
    [found] = web.get("/api/v1/lab/releases", key=owner).json["data"]
    assert found["release"] == "rehearsal/still@2026-11-20"
    assert found["runs"] == 3
    assert found["outcomes"] == {"succeeded": 1, "partial": 1, "supplier_error": 1}
    assert found["success"] == 0.6667
    assert 0 <= found["seconds"]["p50"] <= found["seconds"]["p95"]
    for hours in ("0", "169", "x"):
        answer = web.get(f"/api/v1/lab/releases?hours={hours}", key=owner)
        assert (answer.status, answer.error["param"]) == (422, "hours")


def test_a_lab_asks_for_the_demand_of_a_month(web: Client, still: Release, owner: str) -> None:
    assert web.get("/api/v1/lab/demand?month=2026-05", key=owner).json == {
        "month": "2026-05", "data": [],
    }  # fmt: skip
    answer = web.get("/api/v1/lab/demand?month=2999-01", key=owner)
    assert (answer.status, answer.error["param"]) == (422, "month")


def test_a_lab_sends_its_invoice(web: Client, ada: Person, still: Release, owner: str) -> None:
    day = timezone.now().date().isoformat()
    wish: dict[str, Any] = {"reference": "7", "from": day, "to": "2999-01-01"}
    text = "job,unit,quantity,unit_price\nj1,image,2,0.0012\n"
    sent = [web.call("POST", "/api/v1/lab/invoices", wish | {"csv": text}, key=owner)
            for _ in range(2)]  # fmt: skip
    assert [answer.status for answer in sent] == [201, 200]
    [differs] = sent[0].json["differences"]
    assert (differs["kind"], differs["place"], differs["billed"]["amount"]) == (
        "extra", "j1", "0.0024",
    )  # fmt: skip
    assert web.get("/api/v1/lab/invoices", key=owner).json["data"] == [sent[0].json]
    wrong = web.call(
        "POST", "/api/v1/lab/invoices", wish | {"csv": text + "j,image,x,1"}, key=owner
    )
    assert (wrong.status, wrong.error["param"]) == (422, "lines.2.quantity")
    _, viewer = lab_keys.create(lab=still.model.lab, name="x", role="viewer")
    denied = web.call("POST", "/api/v1/lab/invoices", wish | {"csv": text}, key=viewer)
    assert (denied.status, denied.error["right"]) == (403, "money")
