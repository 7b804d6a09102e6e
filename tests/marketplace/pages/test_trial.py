"""The box on the front page runs at the house's expense, within its bounds."""

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from marketplace import ids
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.pages import trial
from marketplace.runs.models import Run
from tests.conftest import PASSWORD, Person
from tests.marketplace import sale


@pytest.fixture
def visitor(transactional_db: None) -> Client:
    """Somebody without an account; kinora/glyph is on sale from before the clock of the request."""
    sale.put("kinora/glyph")
    return Client()


def make(visitor: Client) -> str:
    answer = visitor.post(
        reverse("trial"), {"prompt": " red   heart "}, headers={"HX-Request": "true"}
    )
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_visitor_makes_a_picture_and_the_house_pays(visitor: Client) -> None:
    page = make(visitor)
    run = Run.objects.get()
    assert run.team_id == trial.HOUSE
    assert run.inputs["prompt"] == "red heart"
    assert f"/api/v1/runs/{run.public_id}/events?ticket=" in page
    assert balance(trial.HOUSE).held == 6_000_000
    assert check() == []


def test_a_visitor_sees_the_own_pictures_only(visitor: Client) -> None:
    make(visitor)
    address = reverse("trial_live", args=[Run.objects.get().public_id])
    assert visitor.get(address).status_code == 200
    assert Client().get(address).status_code == 404
    unknown = reverse("trial_live", args=[ids.public("run", ids.uuid7())])
    assert visitor.get(unknown).status_code == 404


def test_a_third_picture_at_once_waits(visitor: Client) -> None:
    make(visitor)
    make(Client())
    assert "Others are at it right now." in make(Client())
    assert Run.objects.count() == 2


@override_settings(TRIAL_CREDIT_NANO=6_000_000)
def test_the_days_credit_is_the_bound(visitor: Client) -> None:
    make(visitor)
    assert "Today’s free pictures are made." in make(Client())
    assert Run.objects.count() == 1
    assert balance(trial.HOUSE).available == 0
    assert check() == []


@override_settings(TRIAL_CREDIT_NANO=0)
def test_the_box_can_be_closed(visitor: Client) -> None:
    assert "There are no free pictures here." in make(visitor)
    assert not Run.objects.exists()


def test_the_days_credit_is_given_once(visitor: Client) -> None:
    trial.fund_house()
    assert trial.fund_house().accounts.count() == 1


def test_who_has_a_team_plays_with_its_own_money(visitor: Client, ada: Person) -> None:
    assert visitor.login(email=ada.user.email, password=PASSWORD)
    answer = visitor.post(reverse("trial"), {"prompt": "tomato"})
    assert answer.headers["Location"] == "/models/kinora/glyph?prompt=tomato"
    assert not Run.objects.exists()
