"""Pages belong to a team, run nothing inline, and say what is wrong in words."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from marketplace import ids
from marketplace.accounts.models import ApiKey
from tests.conftest import PASSWORD, Person

TEAM_PAGES = ("runs", "usage", "balance", "keys", "settings", "webhooks")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:")


def logged_in(person: Person) -> Client:
    client = Client()
    assert client.login(email=person.user.email, password=PASSWORD)
    return client


@pytest.fixture
def ada_browses(ada: Person) -> Client:
    return logged_in(ada)


@pytest.mark.django_db
@pytest.mark.parametrize("name", TEAM_PAGES)
def test_a_visitor_is_asked_to_log_in(name: str) -> None:
    answer = Client().get(reverse(name))
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{reverse('account_login')}?next={reverse(name)}"


@pytest.mark.parametrize("name", ["home", "models", *TEAM_PAGES])
def test_a_page_carries_the_policy_and_nothing_inline(ada_browses: Client, name: str) -> None:
    answer = ada_browses.get(reverse(name))
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    assert not INLINE.search(answer.content.decode())


def test_no_template_has_a_script_or_a_style_of_its_own() -> None:
    for path in Path(settings.ROOT / "templates").rglob("*.html"):
        assert not INLINE.search(path.read_text()), path


def test_a_key_is_shown_once_and_works(ada: Person, ada_browses: Client) -> None:
    answer = ada_browses.post(reverse("keys"), {"name": "laptop"})
    [text] = re.findall(r"kin_live_[0-9A-Za-z]{36}", answer.content.decode())
    assert ApiKey.objects.get(team=ada.team, name="laptop").prefix == text[:15]
    assert text not in ada_browses.get(reverse("keys")).content.decode()


def test_a_key_without_a_name_is_not_made(ada: Person, ada_browses: Client) -> None:
    answer = ada_browses.post(reverse("keys"), {"name": " "})
    assert "This field is required." in answer.content.decode()
    assert ada.team.keys.count() == 1


def test_a_revoked_key_stays_listed(ada: Person, ada_browses: Client) -> None:
    ada_browses.post(reverse("key_revoke", args=[ada.key.public_id]))
    ada.key.refresh_from_db()
    assert ada.key.revoked_at is not None
    assert "Revoked" in ada_browses.get(reverse("keys")).content.decode()


def test_another_teams_key_is_as_unknown_as_none(cy: Person, ada_browses: Client) -> None:
    unknown = ids.public("key", ids.uuid7())
    answers = [
        ada_browses.post(reverse("key_revoke", args=[key])) for key in (cy.key.public_id, unknown)
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    cy.key.refresh_from_db()
    assert cy.key.revoked_at is None


@pytest.mark.parametrize("name", ["run", "run_live", "run_details"])
def test_a_run_that_is_none_is_not_found(ada_browses: Client, name: str) -> None:
    for run_id in (ids.public("run", ids.uuid7()), "run_x", "key_0"):
        assert ada_browses.get(reverse(name, args=[run_id])).status_code == 404


def test_an_empty_list_of_runs_shows_what_fills_it(ada_browses: Client) -> None:
    answer = ada_browses.get(reverse("runs")).content.decode()
    assert 'href="/models/kinora/glyph?prompt=red+heart"' in answer


def test_the_balance_shows_the_credit_and_its_ledger_line(ada_browses: Client) -> None:
    answer = ada_browses.get(reverse("balance")).content.decode()
    assert "Test credit" in answer
    assert 'value="5000000000"' in answer
    assert "+$5.00" in answer
