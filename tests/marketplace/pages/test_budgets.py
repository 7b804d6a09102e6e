"""The page of budgets: owners make, change, close and undo; others look."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from marketplace.access.models import Budget
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from tests.conftest import PASSWORD, Person
from tests.marketplace.access.test_budgets import admit, capture, item, limit

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = {
    "kind": "end_user", "subject": "", "period": "day", "limit": "1.00", "hard": "yes",
    "max_per_run": "", "concurrency": "", "allowed": "",
}  # fmt: skip


def browser(person: Person) -> Client:
    client = Client()
    assert client.login(email=person.user.email, password=PASSWORD)
    return client


def test_the_empty_page_leads_to_a_working_example(ada: Person, still: Release) -> None:
    page = browser(ada)
    [link] = re.findall(
        r'href="(/budgets/new\?[^"]+)"', page.get(reverse("budgets")).content.decode()
    )
    form = page.get(link.replace("&amp;", "&")).content.decode()
    assert 'value="1.00"' in form
    assert '<option value="end_user" selected>' in form
    assert page.post(reverse("budget_new"), FIELDS).status_code == 302
    made = Budget.objects.get()
    assert (made.kind, made.subject, made.period, made.amount) == (
        "end_user", "*", "day", 1_000_000_000,
    )  # fmt: skip
    assert made.created_by == ada.user


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"limit": "-3"}, "limit"), ({"limit": "0"}, "limit"), ({"limit": "much"}, "limit"),
        ({"limit": "0.0000000001"}, "limit"), ({"limit": ""}, "limit"),
        ({"concurrency": "0"}, "concurrency"), ({"concurrency": "two"}, "concurrency"),
        ({"concurrency": "9" * 30}, "concurrency"), ({"max_per_run": "0"}, "max_per_run"),
        ({"allowed": "kinora/none"}, "allowed"), ({"subject": "a b"}, "subject"),
        ({"kind": "key", "subject": "x"}, "subject"), ({"kind": "planet"}, "kind"),
        ({"period": "year"}, "period"), ({"hard": "maybe"}, "hard"),
    ],
)  # fmt: skip
def test_an_absurd_value_is_told_at_its_field(
    ada: Person, fields: dict[str, str], name: str
) -> None:
    answer = browser(ada).post(reverse("budget_new"), FIELDS | fields)
    assert answer.status_code == 422
    assert f'id="id_{name}_error"' in answer.content.decode()
    assert not Budget.objects.exists()


def test_the_bars_say_what_is_spent_and_held(ada: Person, ben: Person, still: Release) -> None:
    budget = limit(ada, "0.008", kind="end_user", subject="*")
    first, second = item(ada, end_user="u-1"), item(ada, end_user="u-1")
    admit(first, second)
    capture(first["run_id"], 2_000_000)
    for person in (ada, ben):
        shown = browser(person).get(reverse("budgets")).content.decode()
        assert '<rect class="spent" width="25.0" height="8"/>' in shown
        assert '<rect class="held" x="25.0" width="25.0" height="8"/>' in shown
        assert "u-1" in shown
        one = browser(person).get(reverse("budget", args=[budget.public_id])).content.decode()
        assert one.count("<tr>") == 2


def test_a_close_is_undone_and_keeps_its_history(ada: Person, still: Release) -> None:
    budget, page = limit(ada), browser(ada)
    admit(item(ada))
    closed = page.post(reverse("budget_close", args=[budget.public_id]), follow=True)
    undo = re.findall(r'action="([^"]+/reopen)"', closed.content.decode())[0]
    budget.refresh_from_db()
    assert budget.closed_at is not None
    page.post(undo)
    budget.refresh_from_db()
    assert budget.closed_at is None
    assert budget.spendings.get().held == 2_000_000


def test_others_change_nothing(ada: Person, ben: Person, cy: Person) -> None:
    budget = limit(ada)
    posts = [reverse("budget_new"), reverse("budget_zone")]
    posts += [
        reverse(name, args=[budget.public_id])
        for name in ("budget", "budget_close", "budget_reopen")
    ]
    assert [browser(ben).post(path, FIELDS).status_code for path in posts] == [403] * 5
    assert [browser(cy).post(path, FIELDS).status_code for path in posts[2:]] == [404] * 3
    assert browser(cy).get(posts[2]).status_code == 404
    assert "New budget" not in browser(ben).get(reverse("budgets")).content.decode()
    assert Client().get(reverse("budgets")).status_code == 302
    [kept] = Budget.objects.all()
    assert (kept.amount, kept.closed_at) == (5_000_000, None)


def test_an_owner_sets_the_time_zone(ada: Person) -> None:
    page = browser(ada)
    for name, kept in (("Asia/Tokyo", "Asia/Tokyo"), ("Mars/Olympus", "Asia/Tokyo")):
        page.post(reverse("budget_zone"), {"zone": name})
        assert Team.objects.get(id=ada.team.id).time_zone == kept


def test_a_change_is_kept_and_a_bad_one_is_not(ada: Person) -> None:
    budget, page = limit(ada), browser(ada)
    path = reverse("budget", args=[budget.public_id])
    assert page.post(path, FIELDS | {"limit": "$7.5", "hard": "no"}).status_code == 302
    budget.refresh_from_db()
    assert (budget.amount, budget.hard) == (7_500_000_000, False)
    wrong = page.post(path, FIELDS | {"limit": "x"})
    assert wrong.status_code == 422
    budget.refresh_from_db()
    assert budget.amount == 7_500_000_000
