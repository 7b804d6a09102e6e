"""A newcomer proves an address by code and finds a team with a credit."""

import re

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from django.urls import reverse

from marketplace.accounts.models import Team, User
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.pages.welcome import welcome
from tests.conftest import Person

NIA, MO = "nia@example.test", "mo@example.test"
SECRET = "a wheel of photographs"


def sign_up(client: Client, email: str) -> str:
    """The code from the mail."""
    client.post(reverse("account_signup"), {"email": email, "password1": SECRET})
    return re.findall(r"^    (\S+)$", mail.outbox[-1].body, re.MULTILINE)[0]


@pytest.mark.django_db
def test_a_proved_address_gets_a_team_and_the_welcome_credit() -> None:
    client = Client()
    code = sign_up(client, NIA)
    assert not Team.objects.exists()
    answer = client.post(reverse("account_email_verification_sent"), {"code": code})
    assert answer.status_code == 302
    team = Team.objects.get(member__user__email=NIA)
    assert team.name == "nia"
    assert balance(team.id).available == settings.WELCOME_CREDIT_NANO
    assert check() == []


@pytest.mark.django_db
def test_a_wrong_code_gives_nothing() -> None:
    client = Client()
    sign_up(client, MO)
    answer = client.post(reverse("account_email_verification_sent"), {"code": "nothing"})
    assert answer.status_code == 200
    assert not Team.objects.exists()


@pytest.mark.django_db
def test_the_welcome_repeats_safely() -> None:
    user = User.objects.create_user(NIA, SECRET)
    assert welcome(user=user) == welcome(user=user)
    assert balance(welcome(user=user).id).posted == settings.WELCOME_CREDIT_NANO


def test_a_member_of_a_team_gets_no_second_one(ada: Person) -> None:
    assert welcome(user=ada.user) == ada.team
    assert balance(ada.team.id).posted == 5_000_000_000
