"""A person in several teams acts for one of them, the one chosen, and sees no other's things."""

import pytest
from django.test import Client
from django.urls import reverse

from marketplace import ids
from marketplace.accounts.models import Member
from marketplace.catalog.models import Release
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace.pages.test_pages import logged_in
from tests.marketplace.pages.test_play import INPUTS, STILL


@pytest.fixture
def both(ada: Person, cy: Person) -> Client:
    """Ada, who also looks on in Cy's team."""
    Member.objects.create(team=cy.team, user=ada.user, role="viewer")
    return logged_in(ada)


def shown(browser: Client, name: str = "keys") -> str:
    return browser.get(reverse(name)).content.decode()


def choose(browser: Client, person: Person, at: str = "/keys") -> str:
    answer = browser.post(reverse("team_choose", args=[person.team.public_id]), {"at": at})
    assert answer.status_code == 302
    return answer.headers["Location"]


def test_a_person_of_one_team_is_offered_no_other(ada: Person) -> None:
    assert "Act for" not in shown(logged_in(ada))


def test_a_team_is_chosen_and_stays_so(both: Client, ada: Person, cy: Person) -> None:
    assert "Ada&#x27;s studio" in shown(both)
    assert ">Cy alone</button>" in shown(both)
    assert choose(both, cy) == "/keys"
    assert f'data-team="{cy.team.public_id}"' in shown(both)
    assert cy.key.prefix in shown(both)
    assert ada.key.prefix not in shown(both)
    assert f'data-team="{cy.team.public_id}"' in shown(logged_in(ada)), "another browser begins so"
    choose(both, ada)
    assert ada.key.prefix in shown(both)


def test_a_role_is_that_of_the_team_acted_for(both: Client, cy: Person) -> None:
    choose(both, cy)
    assert both.post(reverse("keys"), {"name": "x"}).status_code == 403
    assert cy.team.keys.count() == 1


@pytest.mark.parametrize(
    ("at", "then"),
    [
        ("/runs/run_01jd7x3yvyte9sagyvwwf6hge6", "/runs"),
        ("/budgets/budget_1/close", "/budgets"),
        ("/models/kinora/glyph", "/models/kinora/glyph"),
        ("/settings", "/settings"),
        ("https://example.com/models", "/models"),
        ("//example.com", "/runs"),
        ("", "/runs"),
    ],
)
def test_one_stays_on_the_page_or_in_its_section(
    both: Client, cy: Person, at: str, then: str
) -> None:
    assert choose(both, cy, at) == then


def test_another_persons_team_is_as_unknown_as_none(ada: Person, cy: Person) -> None:
    browser = logged_in(ada)
    for name in (cy.team.public_id, ids.public("team", ids.uuid7()), "x"):
        assert browser.post(reverse("team_choose", args=[name])).status_code == 404
    assert f'data-team="{ada.team.public_id}"' in shown(browser)


def test_who_leaves_a_team_acts_for_another(both: Client, ada: Person, cy: Person) -> None:
    choose(both, cy)
    Member.objects.filter(team=cy.team, user=ada.user).delete()
    assert ada.key.prefix in shown(both)


@pytest.mark.django_db(transaction=True)
def test_a_page_left_open_acts_for_no_other_team(
    both: Client, ada: Person, cy: Person, still: Release
) -> None:
    Member.objects.filter(team=cy.team, user=ada.user).update(role="owner")
    choose(both, cy)
    stale = INPUTS | {"_team": ada.team.public_id}
    answer = both.post(reverse("play", args=STILL), stale)
    assert answer.status_code == 409
    assert "Nothing was done" in answer.content.decode()
    assert not Run.objects.exists()
    answer = both.post(reverse("play", args=STILL), INPUTS | {"_team": cy.team.public_id})
    assert answer.status_code == 302
    assert Run.objects.get().team_id == cy.team.id
