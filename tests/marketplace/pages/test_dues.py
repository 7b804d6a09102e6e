"""The console's desk for labs: answers and decisions reach the books; others never see it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.ledger.refund import refund
from marketplace.payouts.agree import agree
from marketplace.payouts.close import close, month_of, next_month
from marketplace.payouts.invoice import read
from marketplace.payouts.models import Difference, PriceProposal
from marketplace.payouts.propose import propose
from marketplace.runs.invoices import bring
from tests.conftest import PASSWORD, Person
from tests.marketplace.payouts.selling import faults, owed, sell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def admin(rook: User) -> Client:
    client = Client()
    assert client.login(email=rook.email, password=PASSWORD)
    return client


@pytest.fixture
def wish(still: Release) -> PriceProposal:
    return propose(
        release=still,
        kind="price",
        lines=[{"unit": "image", "unit_price": "0.003"}],
        effective_from=timezone.now() + timedelta(days=30),
        note="new chips",
    )


@pytest.fixture
def strange(still: Release) -> Difference:
    """Two pictures are billed that nobody asked for."""
    day = str(timezone.now().date())
    line = {"job": "j1", "unit": "image", "quantity": "2", "unit_price": "0.0012"}
    said = {"reference": "INV-7", "from": day, "to": "2999-01-01", "lines": [line]}
    bring(lab=still.model.lab, bill=read(said))
    return Difference.objects.get()


def text(client: Client, query: str = "") -> str:
    return client.get(reverse("dues") + query).content.decode()


def test_the_desk_is_for_admins_only(ada: Person, wish: PriceProposal, strange: Difference) -> None:
    client = Client()
    assert client.login(email=ada.user.email, password=PASSWORD)
    assert client.get(reverse("dues")).status_code == 404
    for name, found in (("lab_proposal", wish), ("lab_difference", strange)):
        answer = client.post(reverse(name, args=[found.public_id]), {"decision": "accept"})
        assert answer.status_code == 404
    assert PriceProposal.objects.get().state == "proposed"
    assert Difference.objects.get().state == "open"


def test_a_price_is_published_or_refused_with_words(
    admin: Client, still: Release, wish: PriceProposal
) -> None:
    told = text(admin)
    assert "1 price proposed" in told
    assert "new chips" in told
    address = reverse("lab_proposal", args=[wish.public_id])
    admin.post(address, {"decision": "refuse", "answer": " "})
    assert PriceProposal.objects.get().state == "proposed"
    admin.post(address, {"decision": "accept", "answer": "Agreed."})
    found = PriceProposal.objects.get()
    assert (found.state, found.answer) == ("accepted", "Agreed.")
    assert found.decided_by is not None
    assert still.prices.count() == 2
    assert "No price is proposed" in text(admin)


def test_a_bill_is_paid_as_booked_or_as_billed(admin: Client, strange: Difference) -> None:
    told = text(admin)
    assert "1 bill differs from our books" in told
    assert "no run of ours has this job" in told
    address = reverse("lab_difference", args=[strange.public_id])
    for wrong in ({"decision": "both"}, {"decision": "billed", "why": ""}):
        admin.post(address, wrong)
        assert Difference.objects.get().state == "open"
    admin.post(address, {"decision": "billed", "why": "our test of May"})
    assert (Difference.objects.get().state, owed()) == ("accepted", 2_400_000)
    admin.post(address, {"decision": "billed", "why": "again"})
    assert owed() == 2_400_000
    assert "Every bill is what we booked" in text(admin)
    assert faults() == []


def test_one_run_shows_price_share_cost_and_what_is_left(
    admin: Client, ada: Person, still: Release
) -> None:
    agree(lab=still.model.lab, basis="gross", percent="70")
    run = sell(ada, 3)
    refund(run=run, amount=1_000_000, reference="r", note="")
    page = admin.get(reverse("margins"), {"run": ids.public("run", run)}).content.decode()
    for amount in ("$0.006<", "$0.001<", "$0.0035<", "$0.00<", "$0.0015<"):
        assert amount in page
    assert "No run that has ended" in admin.get(reverse("margins"), {"run": "x"}).content.decode()


def test_closed_months_are_listed(admin: Client, ada: Person, still: Release) -> None:
    agree(lab=still.model.lab, basis="gross", percent="70")
    sell(ada, 1)
    assert "No month is closed yet" in text(admin)
    end = next_month(month_of(timezone.now()))
    close(lab=still.model.lab, end=end, now=end)
    assert "$0.0014" in text(admin)
