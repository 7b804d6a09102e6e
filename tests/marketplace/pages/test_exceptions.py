"""The console's inbox: only admins see it, a decision is confirmed, kept, and read by the team."""

from decimal import Decimal
from uuid import UUID

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.metering.models import MeterEvent
from marketplace.runs.models import Decision, RefundRequest
from marketplace.runs.refunds import ask
from tests.conftest import PASSWORD, Person
from tests.journeys.books import FUNDS, delivered, settle
from tests.marketplace import worker
from tests.marketplace.pages.test_pages import logged_in
from tests.marketplace.supply import admit, closed

pytestmark = pytest.mark.django_db(transaction=True)

WRITTEN = {"words": "Two seconds were fine.", "why": "watched it"}


@pytest.fixture
def admin(rook: User) -> Client:
    client = Client()
    assert client.login(email=rook.email, password=PASSWORD)
    return client


@pytest.fixture
def disputed(ada: Person, clip: Release) -> UUID:
    """Five seconds at 360p asked for; 180p came, and the lab says it was ten."""
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    settle(*worker.claim(), delivered(5, reported=10, height=180))
    return run_id


@pytest.fixture
def asked(ada: Person, clip: Release) -> RefundRequest:
    """A refund of five charged seconds."""
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    settle(*worker.claim(), delivered(5, reported=5))
    note = "the colours are wrong"
    return ask(run=run_id, team_id=ada.team.id, reason="other", note=note, user=ada.user)[0]


def page(run_id: UUID) -> str:
    return reverse("exception", args=[ids.public("run", run_id)])


def text(answer: HttpResponse) -> str:
    return answer.content.decode()


@pytest.mark.parametrize("name", ["exceptions", "margins", "exception"])
def test_nobody_but_an_admin_sees_that_it_is_there(ada: Person, disputed: UUID, name: str) -> None:
    path = page(disputed) if name == "exception" else reverse(name)
    browser = logged_in(ada)
    assert browser.get(path).status_code == 404
    posted = browser.post(path, {"act": "void", **WRITTEN, "confirmed": "1"})
    assert posted.status_code in (404, 405)
    assert Client().get(path).status_code == 302
    assert closed(disputed) == ("in_review", 0)


def test_an_empty_inbox_says_so(admin: Client) -> None:
    answer = text(admin.get(reverse("exceptions")))
    assert "Nothing waits for you" in answer
    assert "None is overdue" in answer
    assert "No run has ended yet" in text(admin.get(reverse("margins")))


def test_it_lists_what_waits_with_what_is_at_stake(
    admin: Client, disputed: UUID, asked: RefundRequest
) -> None:
    answer = text(admin.get(reverse("exceptions")))
    assert "2 runs wait for a decision" in answer
    assert "Witnesses disagree" in answer
    assert "Refund asked: something else" in answer
    assert answer.count('value="50000000"') == 2


def test_the_witnesses_stand_side_by_side_with_what_each_would_charge(
    admin: Client, disputed: UUID
) -> None:
    answer = text(admin.get(page(disputed)))
    for said in ("360p", "320 × 180", "differs", "above the hold"):
        assert said in answer
    assert answer.count('value="50000000"') >= 3  # held, as asked, as measured
    assert 'value="100000000"' in answer  # as reported


def test_a_charge_is_confirmed_before_it_is_made(
    admin: Client, rook: User, ada: Person, disputed: UUID
) -> None:
    wish = {"act": "charge", "video_second": "2", **WRITTEN}
    first = text(admin.post(page(disputed), wish))
    assert "Charge $0.02 USD and give the rest back?" in first
    assert "Two seconds were fine." in first
    assert closed(disputed) == ("in_review", 0)
    assert Decision.objects.count() == 0
    done = admin.post(page(disputed), {**wish, "confirmed": "1"})
    assert (done.status_code, done.headers["Location"]) == (302, reverse("exceptions"))
    assert closed(disputed) == ("captured", 20_000_000)
    assert MeterEvent.objects.get().quantity == Decimal(2)
    [kept] = Decision.objects.all()
    assert (kept.user, kept.act, kept.amount) == (rook, "charge", 20_000_000)
    assert (kept.words, kept.why) == ("Two seconds were fine.", "watched it")
    read = text(logged_in(ada).get(reverse("run", args=[ids.public("run", disputed)])))
    assert "Two seconds were fine." in read
    assert "watched it" not in read
    assert admin.get(page(disputed)).status_code == 404  # nothing waits there any more


def test_nothing_is_charged_where_the_admin_says_so(
    admin: Client, ada: Person, disputed: UUID
) -> None:
    admin.post(page(disputed), {"act": "void", **WRITTEN, "confirmed": "1"})
    assert closed(disputed) == ("voided", 0)
    assert balance(ada.team.id).available == FUNDS


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"act": "grant"}, "Choose one of the decisions."),
        ({"why": " "}, "Say why"),
        ({"video_second": "five"}, "is not a quantity"),
        ({"video_second": "-1"}, "cannot be charged"),
        ({"video_second": "6"}, "only $0.05 USD is held"),
    ],
)
def test_what_cannot_be_decided_is_said_and_nothing_moves(
    admin: Client, disputed: UUID, wrong: dict[str, str], says: str
) -> None:
    wish = {"act": "charge", "video_second": "2", **WRITTEN, "confirmed": "1"} | wrong
    assert says in text(admin.post(page(disputed), wish))
    assert closed(disputed) == ("in_review", 0)


def test_a_part_is_granted_and_the_team_reads_it(
    admin: Client, ada: Person, asked: RefundRequest
) -> None:
    wish = {"act": "grant", "amount": "0.01", **WRITTEN}
    assert "Give $0.01 USD back?" in text(admin.post(page(asked.run_id), wish))
    admin.post(page(asked.run_id), {**wish, "confirmed": "1"})
    asked.refresh_from_db()
    assert (asked.state, asked.decided_by, asked.amount) == ("granted", "admin", 10_000_000)
    assert balance(ada.team.id).available == FUNDS - 40_000_000
    read = text(logged_in(ada).get(reverse("run", args=[asked.run.public_id])))
    assert "given back" in read
    assert "Two seconds were fine." in read


def test_a_refusal_needs_words_and_moves_nothing(
    admin: Client, ada: Person, asked: RefundRequest
) -> None:
    wish = {"act": "refuse", "why": "watched it", "confirmed": "1"}
    assert "Say what the customer reads." in text(admin.post(page(asked.run_id), wish))
    admin.post(page(asked.run_id), wish | {"words": "They are as you asked."})
    asked.refresh_from_db()
    assert (asked.state, asked.answer) == ("refused", "They are as you asked.")
    assert balance(ada.team.id).available == FUNDS - 50_000_000


@pytest.mark.parametrize("amount", ["0", "-1", "0.06", "much"])
def test_no_more_than_is_left_can_be_granted(
    admin: Client, asked: RefundRequest, amount: str
) -> None:
    wish = {"act": "grant", "amount": amount, **WRITTEN, "confirmed": "1"}
    assert "notice error" in text(admin.post(page(asked.run_id), wish))
    asked.refresh_from_db()
    assert asked.state == "open"


def test_a_developer_asks_on_the_page_of_the_run(ada: Person, ben: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    settle(*worker.claim(), delivered(5, reported=5))
    name = ids.public("run", run_id)
    path, wish = reverse("run_refund", args=[name]), {"reason": "other", "note": "too dark"}
    assert "Ask for a refund" in text(logged_in(ada).get(reverse("run", args=[name])))
    assert logged_in(ben).post(path, wish).status_code == 403  # he only looks
    assert RefundRequest.objects.count() == 0
    assert logged_in(ada).post(path, wish).status_code == 302
    assert RefundRequest.objects.get().user == ada.user
    read = text(logged_in(ada).get(reverse("run", args=[name])))
    assert "A person looks at it" in read
    assert "Ask for a refund" not in read
