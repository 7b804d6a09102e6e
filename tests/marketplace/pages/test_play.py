"""The playground prices, runs and refuses; runs are shown to their team alone."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.runs.models import Run
from tests.conftest import PASSWORD, Person, join
from tests.marketplace import sale

STILL = ["rehearsal", "still"]
INPUTS = {"prompt": "salt and light", "size": "512x512", "count": "2", "latency_ms": "10"}
HTMX = {"HX-Request": "true"}


@pytest.fixture
def on_sale(transactional_db: None) -> None:
    sale.put("rehearsal/still")


def client_of(person: Person) -> Client:
    client = Client()
    assert client.login(email=person.user.email, password=PASSWORD)
    return client


@pytest.fixture
def ada_plays(on_sale: None, ada: Person) -> Client:
    return client_of(ada)


def play(client: Client, **inputs: str) -> str:
    """One press of the button; the answer's text."""
    body = {**INPUTS, "once": str(ids.uuid7()), **inputs}
    return client.post(reverse("play", args=STILL), body, headers=HTMX).content.decode()


@pytest.mark.usefixtures("on_sale")
def test_a_visitor_sees_the_price_of_what_is_typed() -> None:
    answer = Client().post(reverse("price", args=STILL), INPUTS).content.decode()
    assert 'value="4000000"' in answer
    assert "exactly, for 2 × image" in answer


@pytest.mark.usefixtures("on_sale")
def test_a_wrong_input_has_no_price() -> None:
    answer = Client().post(reverse("price", args=STILL), {**INPUTS, "count": "99"})
    assert "no price until the inputs are right" in answer.content.decode()


def test_a_press_admits_a_run_and_holds_its_price(ada: Person, ada_plays: Client) -> None:
    page = play(ada_plays)
    run = Run.objects.get()
    assert (run.team, run.user, run.inputs["count"]) == (ada.team, ada.user, 2)
    assert f"/runs/{run.public_id}/live" in page
    assert balance(ada.team.id).held == 4_000_000
    assert check() == []


def test_the_same_press_twice_is_one_run(ada_plays: Client) -> None:
    for _ in range(2):
        play(ada_plays, once="pressed-once")
    assert Run.objects.count() == 1


def test_without_a_script_the_runs_page_opens(ada_plays: Client) -> None:
    answer = ada_plays.post(reverse("play", args=STILL), INPUTS)
    assert answer.headers["Location"] == f"/runs/{Run.objects.get().public_id}"


def test_whose_session_has_ended_is_sent_to_log_in_and_back(ada_plays: Client) -> None:
    ada_plays.logout()
    there = {**HTMX, "HX-Current-URL": "http://testserver/models/rehearsal/still?prompt=a"}
    answer = ada_plays.post(reverse("play", args=STILL), INPUTS, headers=there)
    door = f"{reverse('account_login')}?next=/models/rehearsal/still%3Fprompt%3Da"
    assert answer.headers["HX-Redirect"] == door
    plain = ada_plays.post(reverse("play", args=STILL), INPUTS)
    assert plain.headers["Location"] == f"{reverse('account_login')}?next=/models/rehearsal/still"
    assert not Run.objects.exists()


def test_a_wrong_input_is_named_and_holds_nothing(ada: Person, ada_plays: Client) -> None:
    page = play(ada_plays, prompt="", count="99")
    assert "Prompt is missing." in page
    assert 'aria-invalid="true"' in page
    assert not Run.objects.exists()
    assert balance(ada.team.id).held == 0


def test_a_run_above_what_is_allowed_is_refused_and_the_inputs_stay(
    ada: Person, ada_plays: Client
) -> None:
    page = play(ada_plays, **{"limit-max_cost": "$0.003"})
    assert "more than max_cost $0.003 USD. You were not charged. Nothing is held." in page
    assert "salt and light" in page
    assert 'value="$0.003"' in page
    assert not Run.objects.exists()
    assert balance(ada.team.id).held == 0
    play(ada_plays, **{"limit-max_cost": "0.004"})
    assert balance(ada.team.id).held == 4_000_000


@pytest.mark.parametrize("text", ["much", "-1", "1e3", "0.0000000001"])
def test_a_limit_that_is_no_amount_is_refused_at_its_field(
    ada: Person, ada_plays: Client, text: str
) -> None:
    page = play(ada_plays, **{"limit-max_cost": text})
    assert "This must " in page
    assert not Run.objects.exists()


@pytest.mark.usefixtures("on_sale")
def test_the_price_says_when_it_is_above_the_limit() -> None:
    for limit, above in (("0.003", True), ("0.004", False), ("", False)):
        asked = INPUTS | {"limit-max_cost": limit}
        answer = Client().post(reverse("price", args=STILL), asked).content.decode()
        assert ("more than you allow" in answer) is above


@pytest.mark.usefixtures("on_sale")
def test_without_money_the_refusal_says_what_it_cost() -> None:
    poor = join("poor", team=Team.objects.create(name="No money"), role="owner")
    page = play(client_of(poor))
    assert "is missing." in page
    assert "You were not charged. Nothing is held." in page
    assert not Run.objects.exists()


def test_a_run_is_shown_to_its_team_alone(ada_plays: Client, cy: Person) -> None:
    play(ada_plays)
    for name in ("run", "run_live", "run_details"):
        address = reverse(name, args=[Run.objects.get().public_id])
        assert ada_plays.get(address).status_code == 200
        assert client_of(cy).get(address).status_code == 404


def test_another_teams_run_is_not_cancelled(ada_plays: Client, cy: Person) -> None:
    play(ada_plays)
    address = reverse("run_cancel", args=[Run.objects.get().public_id])
    assert client_of(cy).post(address).status_code == 404
    assert Run.objects.get().state == "queued"


def test_a_cancelled_run_gives_its_hold_back(ada: Person, ada_plays: Client) -> None:
    play(ada_plays)
    run = Run.objects.get()
    ada_plays.post(reverse("run_cancel", args=[run.public_id]))
    page = ada_plays.get(reverse("run", args=[run.public_id])).content.decode()
    assert "You cancelled this run." in page
    assert "You were not charged." in page
    assert balance(ada.team.id).available == 5_000_000_000
    assert check() == []


def test_the_list_of_runs_asks_as_often_for_many_as_for_one(ada_plays: Client) -> None:
    def asked() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            ada_plays.get(reverse("runs"))
        return len(queries)

    play(ada_plays)
    once = asked()
    for _ in range(3):
        play(ada_plays)
    assert asked() == once
    assert len(re.findall("<tr class=", ada_plays.get(reverse("runs")).content.decode())) == 4
