"""Complaint: the limit did not hold; requests at once, unpriced ones, a client's own cap."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.runs.models import Outbox, Run
from tests.conftest import Person, fund, join
from tests.journeys.books import FREE, charge, money, written
from tests.marketplace import worker
from tests.marketplace.supply import admit, closed
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

CLIP: dict[str, Any] = {"model": "rehearsal/clip", "inputs": {"prompt": "dusk", "seconds": 2}}


@pytest.fixture
def eve(db: None) -> Person:
    """Has ten cents: five clips of two seconds."""
    person = join("eve", team=Team.objects.create(name="Eve's"), role="owner")
    fund(person.team, "0.10", reference="tests:eve")
    return person


def test_sixteen_requests_at_once_do_not_pass_a_balance_for_five(
    web: Client, eve: Person, clip: Release
) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: web.run(CLIP, key=eve.text), range(16)))
    assert Counter(answer.status for answer in answers) == {201: 5, 402: 11}
    assert Run.objects.count() == Hold.objects.count() == 5
    assert money(eve) == (100_000_000, 100_000_000)
    for run in Run.objects.all():
        assert charge(run.id) == ("open", 0)


def test_who_has_too_little_is_told_what_is_missing_and_nothing_is_written(
    web: Client, eve: Person, clip: Release
) -> None:
    before = written(eve)
    all_there_is = web.run(CLIP | {"inputs": {"prompt": "dusk", "seconds": 10}}, key=eve.text)
    refused = web.run(CLIP, key=eve.text)
    assert all_there_is.status == 201
    assert (refused.status, refused.error["code"]) == (402, "insufficient_balance")
    assert refused.error["missing"]["nano"] == 20_000_000
    assert written(eve) == before | {"Run": 1, "Hold": 1, "money": (100_000_000, 100_000_000)}


def test_max_cost_stops_a_run_that_may_cost_a_nano_more(
    web: Client, eve: Person, clip: Release
) -> None:
    before = written(eve)
    answer = web.run(CLIP | {"max_cost": "0.019999999"}, key=eve.text)
    assert (answer.status, answer.error["code"]) == (402, "cost_above_limit")
    assert answer.error["quoted"]["nano"] == 20_000_000
    assert written(eve) == before
    assert not Outbox.objects.exists()
    exact = web.run(CLIP | {"max_cost": "0.02"}, key=eve.text)
    assert (exact.status, exact.json["cost"]["held"]["nano"]) == (201, 20_000_000)


def test_money_that_a_run_gave_back_can_be_spent_at_once(
    web: Client, eve: Person, clip: Release
) -> None:
    whole = CLIP | {"inputs": {"prompt": "dusk", "seconds": 10}}
    runs = []
    for _ in range(3):
        made = web.run(whole, key=eve.text)
        assert made.status == 201
        web.call("POST", made.json["links"]["cancel"], key=eve.text)
        runs.append(Run.objects.latest("created_at").id)
    assert [charge(run) for run in runs] == [FREE] * 3
    assert money(eve) == (100_000_000, 0)


def test_no_kind_of_model_runs_without_a_hold(
    ada: Person, still: Release, clip: Release, glyph: Release
) -> None:
    runs = {
        "rehearsal/still": 2_000_000,
        "rehearsal/clip": 50_000_000,
        "kinora/glyph": 6_000_000,  # compute is bounded by its time limit
    }
    for model, held in runs.items():
        assert closed(admit(ada, model)) == ("open", 0)
        assert Hold.objects.latest("created_at").amount == held
    assert money(ada)[1] == sum(runs.values())


def test_a_team_that_is_spent_out_cannot_go_below_zero(
    web: Client, eve: Person, still: Release, clip: Release
) -> None:
    still_asked = {"model": "rehearsal/still", "inputs": {"prompt": "dusk", "count": 4}}
    answers = [web.run(still_asked, key=eve.text).status for _ in range(14)]
    assert answers == [201] * 12 + [402] * 2  # twelve times $0.008
    for _ in range(12):
        worker.succeed(*worker.claim(), pictures=4)
    assert money(eve) == (4_000_000, 0)
    assert web.run(CLIP, key=eve.text).status == 402
    assert money(eve) == (4_000_000, 0)
