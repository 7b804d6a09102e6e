"""Terms are agreed once per instant, kept, and followed by settlement and refunds."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.catalog.models import Lab, Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.ledger.capture import captured, close
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.models import Entry, Transfer
from marketplace.ledger.refund import refund
from marketplace.ledger.transfer import grant_credit
from marketplace.money import NANO
from marketplace.payouts.agree import agree
from marketplace.payouts.models import Agreement
from marketplace.payouts.split import Terms, split
from marketplace.runs import review, uncosted
from marketplace.runs.margin import margin
from marketplace.runs.receipt import receipt
from marketplace.runs.statement import sealed, statement
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.payouts.selling import COST, PICTURE, end, faults, owed, sell
from tests.marketplace.runs.statements import END, TODAY, verify
from tests.marketplace.supply import admit

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_version_ends_where_the_next_begins(lab: Lab, seventy: Agreement) -> None:
    start = timezone.now() + timedelta(days=3)
    later = agree(lab=lab, basis="net", percent="12.5", promotions="lab", effective_from=start)
    seventy.refresh_from_db()
    assert (seventy.version, seventy.effective_to) == (1, start)
    assert (later.version, later.millionths, later.effective_to) == (2, 125_000, None)
    with pytest.raises(Conflict, match="Version 2 begins"):
        agree(lab=lab, basis="unit_cost")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"basis": "gut feeling"}, "basis"), ({"percent": "100.1"}, "percent"),
    ({"percent": "-1"}, "percent"), ({"percent": None}, "percent"), ({"percent": "NaN"}, "percent"),
    ({"percent": "0.00001"}, "percent"), ({"percent": "much"}, "percent"),
    ({"basis": "unit_cost", "percent": "5"}, "percent"), ({"promotions": "nobody"}, "promotions"),
    ({"guarantee": -1}, "guarantee"),
    ({"effective_from": timezone.now() - timedelta(days=1)}, "effective_from"),
    ({"effective_from": timezone.now().replace(tzinfo=None)}, "effective_from"),
]  # fmt: skip


@pytest.mark.parametrize(("terms", "param"), WRONG)
def test_wrong_terms_are_named_and_write_nothing(
    lab: Lab, seventy: Agreement, terms: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        agree(lab=lab, **{"basis": "gross", "percent": "60"} | terms)
    assert refusal.value.param == param
    assert Agreement.objects.get().effective_to is None


def test_there_is_nobody_to_agree_with_about_our_own_models(glyph: Release) -> None:
    with pytest.raises(InvalidInput) as refusal:
        agree(lab=glyph.model.lab, basis="gross", percent="50")
    assert refusal.value.param == "lab"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE payouts_agreement SET millionths = 1",
        "DELETE FROM payouts_agreement",
        "UPDATE payouts_agreement SET effective_to = now(), millionths = 1",
    ],
)
def test_the_database_keeps_an_agreement(seventy: Agreement, sql: str) -> None:
    with pytest.raises(DatabaseError, match="superseded, never edited"), connection.cursor() as c:
        c.execute(sql)
    assert Agreement.objects.get().millionths == 700_000


def test_the_database_refuses_two_at_once(lab: Lab, seventy: Agreement) -> None:
    with pytest.raises(IntegrityError, match="agreement_once_per_instant"):
        Agreement.objects.create(
            lab=lab, version=9, basis="gross", millionths=1, promotions="lab",
            effective_from=timezone.now() + timedelta(days=400),
        )  # fmt: skip


def test_a_settled_run_sums_exactly_and_keeps_its_version(ada: Person, seventy: Agreement) -> None:
    run = sell(ada, 3)
    price, share = 3 * PICTURE, 3 * PICTURE * 7 // 10
    found = margin(run)
    assert (found["charged"], found["share"], found["cost"]) == (price, share, 0)
    assert found["charged"] == found["share"] + found["cost"] + found["margin"]
    assert Transfer.objects.get(run_id=run).agreement_id == seventy.id
    assert faults() == []


def test_terms_are_those_of_the_instant_of_the_hold(
    ada: Person, lab: Lab, seventy: Agreement
) -> None:
    waiting = admit(ada, size="64x64")
    agree(lab=lab, basis="gross", percent="10")
    end(*worker.claim(), 1)
    newer = sell(ada)
    assert [margin(run)["share"] for run in (waiting, newer)] == [1_400_000, 200_000]
    assert faults() == []


def test_by_unit_cost_the_tariff_says_what_is_owed(ada: Person, lab: Lab) -> None:
    agreement = agree(lab=lab, basis="unit_cost")
    run = sell(ada, 2)
    found = margin(run)
    assert (found["share"], found["cost"], found["margin"]) == (
        0, 2 * COST, 2 * PICTURE - 2 * COST,
    )  # fmt: skip
    pinned = Transfer.objects.filter(run_id=run).values_list("kind", "agreement_id")
    assert dict(pinned) == {"charge": agreement.id, "cost": agreement.id}
    assert faults() == []


def test_runs_from_before_an_agreement_keep_their_books(ada: Person, lab: Lab) -> None:
    before = sell(ada)
    agree(lab=lab, basis="gross", percent="70")
    assert margin(before)["cost"] == COST
    assert set(Transfer.objects.filter(run_id=before).values_list("agreement_id")) == {(None,)}
    refund(run=before, amount=None, reference="r", note="")
    assert (margin(before)["share"], owed()) == (0, COST)
    assert faults() == []


def test_a_customer_never_sees_what_the_lab_gets(ada: Person, seventy: Agreement) -> None:
    run = sell(ada)
    refund(run=run, amount=1_000, reference="r", note="")
    shown = receipt(run, ada.team.id)
    [told] = [line for line in statement(ada.team.id, TODAY, END) if line["kind"] == "run"]
    assert "lab_payable" not in f"{shown}{told}"
    assert [(e["account"], e["amount"]["nano"]) for e in shown["entries"]] == [
        ("Test credit", -PICTURE), ("revenue:rehearsal/still", PICTURE),
        ("Test credit", 1_000), ("revenue:rehearsal/still", -1_000),
    ]  # fmt: skip
    assert sum(entry["amount_nano"] for entry in told["entries"]) == 0
    text = b"".join(sealed(statement(ada.team.id, TODAY, END)))
    assert verify(text)[0] == 0


def test_a_failure_shares_nothing(ada: Person, seventy: Agreement) -> None:
    run = sell(ada, 2, delivered=0)
    assert {name: margin(run)[name] for name in ("charged", "share", "cost", "margin")} == {
        "charged": 0, "share": 0, "cost": 0, "margin": 0,
    }  # fmt: skip
    assert owed() == 0


def test_what_an_admin_charges_is_shared_too(ada: Person, seventy: Agreement) -> None:
    run = sell(ada, 1, delivered=3)  # more than was asked for: it waits for an admin
    assert owed() == 0
    review.decide(run=run, charged={"image": Decimal(1)})
    assert (owed(), margin(run)["share"]) == (1_400_000, 1_400_000)
    assert uncosted.waiting() == []
    assert faults() == []


def test_a_refund_takes_the_lab_s_part_back_exactly(ada: Person, seventy: Agreement) -> None:
    run = sell(ada, 1)
    refund(run=run, amount=999_999, reference="a", note="")
    assert owed() == 1_400_000 - 699_999
    refund(run=run, amount=None, reference="b", note="")
    assert owed() == 0
    pinned = Transfer.objects.filter(run_id=run).values_list("agreement_id", flat=True)
    assert set(pinned) == {seventy.id}
    assert (margin(run)["share"], margin(run)["margin"]) == (0, 0)
    assert faults() == []


def test_a_lab_gets_no_part_of_its_own_credits_of_the_net(ada: Person, lab: Lab) -> None:
    agree(lab=lab, basis="net", percent="50")
    grant_credit(
        team=ada.team, amount=1_500_000, name="Launch", reference="l", expires_at=None,
        scope=["rehearsal"], funder="rehearsal",
    )  # fmt: skip
    run = sell(ada, 1)
    assert margin(run)["share"] == (PICTURE - 1_500_000) // 2
    assert faults() == []


credits = st.lists(
    st.tuples(st.integers(1, 4_000), st.sampled_from(["kinora", "rehearsal", "other"])),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    credits=credits,
    basis=st.sampled_from(["gross", "net"]),
    promotions=st.sampled_from(["giver", "kinora", "lab"]),
    millionths=st.integers(0, 1_000_000),
    data=st.data(),
)
def test_any_terms_amounts_and_refunds_sum_exactly(
    lab: Lab,
    credits: list[tuple[int, str]],
    basis: str,
    promotions: str,
    millionths: int,
    data: st.DataObject,
) -> None:
    with transaction.atomic():
        version = Agreement.objects.create(
            lab=lab, version=1, basis=basis, millionths=millionths, promotions=promotions,
            effective_from=timezone.now(),
        )  # fmt: skip
        team = Team.objects.create(name="Any")
        for place, (amount, funder) in enumerate(credits):
            grant_credit(
                team=team, amount=amount, name="C", reference=f"{team.id}:{place}",
                expires_at=timezone.now() + timedelta(days=place + 1), funder=funder,
            )  # fmt: skip
        whole = sum(amount for amount, _ in credits)
        run, amount = ids.uuid7(), data.draw(st.integers(1, whole))
        assert hold(wants=[Want(run, team.id, whole, whole, 1)])[0].code == "ok"
        terms = Terms(version.id, "rehearsal", basis, millionths, promotions)
        parts = [{"amount": size, "funder": funder} for size, funder in credits]
        shares = split("rehearsal/still", amount, terms, parts)
        close(closings={run: captured(amount, shares, version.id)})
        assert faults() == []
        give_back(run, amount, data)
        transaction.set_rollback(True)


def give_back(run: UUID, left: int, data: st.DataObject) -> None:
    """Refund a run part by part until nothing is left: then each of its entries is reversed."""
    earned = owed()
    while left:
        part = data.draw(st.integers(1, left))
        refund(run=run, amount=part, reference=f"{run}:{left}", note="")
        left -= part
        assert 0 <= owed() <= earned
        assert faults() == []
    assert owed() == 0
    system = Entry.objects.filter(transfer__run_id=run, account__team=None)
    assert sum(system.values_list("amount", flat=True)) == 0


def test_terms_are_agreed_on_the_server(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    call_command(
        "agree", "rehearsal", "--basis", "net", "--percent", "62.5", "--guarantee", "1000",
        "--from", "2999-12-24T00:00Z",
    )  # fmt: skip
    assert "v1, from 2999-12-24 00:00 UTC" in capsys.readouterr().out
    made = Agreement.objects.get()
    assert (made.millionths, made.guarantee) == (625_000, 1_000 * NANO)
    for wrong in (["nobody", "--basis", "gross"], ["rehearsal", "--basis", "gross"],
                  ["rehearsal", "--basis", "unit_cost", "--from", "soon"]):  # fmt: skip
        with pytest.raises(CommandError):
            call_command("agree", *wrong)
    assert Agreement.objects.count() == 1
