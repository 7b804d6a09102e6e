"""The audit finds every planted fault, asks what other rooms add, and keeps what it found."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from marketplace import ids
from marketplace.accounts.models import Team, User
from marketplace.ledger import check
from marketplace.ledger.capture import Share, captured, close
from marketplace.ledger.fold import fold
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.models import Audit
from marketplace.ledger.refund import refund
from marketplace.ledger.transfer import grant_credit
from marketplace.runs.invariants import INVARIANTS as OF_RUNS
from tests.conftest import GUARDS, PASSWORD, Person

pytestmark = pytest.mark.django_db

PLANTED = {
    "every transfer sums to 0 per currency": "UPDATE ledger_entry SET amount = amount + 1"
    " WHERE id = (SELECT min(id) FROM ledger_entry)",
    "a team account's posted is the sum of its entries": "UPDATE ledger_account"
    " SET posted = posted + 1 WHERE kind = 'promo'",
    "a system account's posted is the sum of its folded entries": "UPDATE ledger_account"
    " SET posted = posted - 1 WHERE name = 'revenue:x'",
    "an entry of a team says what was left, one of the system does not": "UPDATE ledger_entry"
    " SET balance_after = NULL WHERE balance_after IS NOT NULL",
    "an account's held is the sum of its open holds": "UPDATE ledger_account SET held = held + 1"
    " WHERE kind = 'promo'",
    "captured ≤ held ≤ quoted": "UPDATE ledger_hold SET closed_at = NULL",
    "a hold's parts sum to it": "UPDATE ledger_holdpart SET amount = amount + 1",
    "one charge per captured hold, of its amount, and none without a hold": "INSERT INTO"
    " ledger_transfer (kind, reference, run_id, note, event_at)"
    " SELECT 'charge', 'twice', run_id, '', now() FROM ledger_hold WHERE state = 'captured';"
    " INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after) SELECT t.id, a.id,"
    " -1, 0 FROM ledger_transfer t, ledger_account a WHERE t.reference = 'twice'"
    " AND a.kind = 'promo'",
    "refunds of a run never exceed its charge, account by account": "UPDATE ledger_entry e"
    " SET amount = 100 * amount FROM ledger_transfer t WHERE t.id = e.transfer_id"
    " AND t.kind = 'refund'",
    "a hold's refunded is the sum of its refunds": "UPDATE ledger_hold SET refunded = 4",
    "a credit is granted once, by its funder, and only voids go back there": "UPDATE"
    " ledger_account SET funder = 'acme' WHERE kind = 'promo'",
    "granted = burned + expired + voided + remaining, credit by credit": "UPDATE ledger_transfer"
    " SET kind = 'expiry' WHERE kind = 'grant'",
    "no hold has expired this week because its run was gone": "UPDATE ledger_hold"
    " SET state = 'expired'",
    "an open hold has a run of the same team and price": "UPDATE ledger_hold SET state = 'open'",
}
UNBOUND = "ALTER TABLE ledger_hold DROP CONSTRAINT hold_captured_within_held_within_quoted"


@pytest.fixture
def books() -> None:
    """A credit, a run that was charged and in part refunded, all folded."""
    team = Team.objects.create(name="Ada")
    grant_credit(team=team, amount=100, name="C", reference="r", expires_at=None)
    run = ids.uuid7()
    hold(wants=[Want(run, team.id, 30, 30, 1)])
    close(closings={run: captured(20, [Share("revenue:x", 20)])})
    refund(run=run, amount=5, reference="back", note="")


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("sentence", list(PLANTED))
def test_a_planted_fault_is_found_by_its_sentence(sentence: str) -> None:
    assert check.audit().good
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(GUARDS.format("DISABLE"))
        cursor.execute(
            "ALTER TABLE ledger_hold DROP CONSTRAINT hold_captured_within_held_within_quoted"
        )
        cursor.execute(PLANTED[sentence])
    done = check.audit()
    assert not done.good
    [finding] = [f for f in done.findings if f["sentence"] == sentence]
    assert finding["count"] >= 1
    assert 1 <= len(finding["rows"]) <= 5


def test_every_sentence_of_the_ledger_has_a_planted_fault() -> None:
    guarded_by_the_database = {"no account is overdrawn"}
    ours = {said for said, sql in check.INVARIANTS.items() if "access_" not in sql}
    assert ours - PLANTED.keys() == guarded_by_the_database


def test_the_audit_asks_what_other_rooms_add() -> None:
    asked = {f["sentence"] for f in check.audit().findings}
    assert asked >= check.INVARIANTS.keys() | OF_RUNS.keys()


@pytest.mark.usefixtures("books")
def test_the_command_says_what_is_broken_and_in_json() -> None:
    said = StringIO()
    call_command("check_ledger", "--json", stdout=said)
    found = json.loads(said.getvalue())
    assert found["good"]
    assert {f["count"] for f in found["findings"]} == {0}
    connection.cursor().execute(PLANTED["an account's held is the sum of its open holds"])
    with pytest.raises(CommandError, match="1 × an account's held is the sum of its open holds"):
        call_command("check_ledger")
    assert list(Audit.objects.order_by("id").values_list("good", flat=True)) == [True, False]


@pytest.mark.usefixtures("books")
def test_an_admin_sees_the_last_audit_and_runs_another(rook: User) -> None:
    browser = Client()
    assert browser.login(email=rook.email, password=PASSWORD)
    assert "No audit yet" in browser.get(reverse("audit")).content.decode()
    assert browser.post(reverse("audit")).status_code == 302
    text = browser.get(reverse("audit")).content.decode()
    assert "Everything that should be 0 is 0" in text
    assert "Every transfer sums to 0 per currency" in text
    connection.cursor().execute(PLANTED["an account's held is the sum of its open holds"])
    browser.post(reverse("audit"))
    assert "1 invariant is broken" in browser.get(reverse("audit")).content.decode()
    assert fold() == 0


def test_the_audit_is_for_admins_alone(ada: Person) -> None:
    browser = Client()
    assert browser.get(reverse("audit")).status_code == 302
    assert browser.login(email=ada.user.email, password=PASSWORD)
    for ask in (browser.get, browser.post):
        assert ask(reverse("audit")).status_code == 404
    assert Audit.objects.count() == 0
