"""Admission through HTTP under contention: money and idempotency are exact."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.ledger.models import Hold
from marketplace.runs.models import Run
from tests.conftest import Person, fund, join
from tests.marketplace.web import Answer, Client

BODY = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
PRICE = 2_000_000


def at_once(several: int, call: Callable[[int], Answer]) -> list[Answer]:
    """Make all calls at the same instant."""
    barrier = threading.Barrier(several)

    def one(place: int) -> Answer:
        barrier.wait()
        return call(place)

    with ThreadPoolExecutor(several) as pool:
        return list(pool.map(one, range(several)))


@pytest.mark.parametrize("repetition", range(5))
def test_a_balance_for_a_hundred_runs_admits_exactly_a_hundred(
    web: Client, still: Release, repetition: int
) -> None:
    ada = join("ada", team=Team.objects.create(name="Ada's studio"), role="owner")
    fund(ada.team, "0.2", reference="tests:hundred")

    def three(_place: int) -> list[Answer]:
        return [web.run(BODY, key=ada.text) for _ in range(3)]

    with ThreadPoolExecutor(64) as pool:
        answers = [answer for several in pool.map(three, range(64)) for answer in several]

    assert Counter(answer.status for answer in answers) == {201: 100, 402: 92}
    for answer in answers:
        if answer.status == 402:
            assert answer.error["code"] == "insufficient_balance"
            assert answer.error["missing"] == {
                "amount": "0.002",
                "currency": "USD",
                "nano": PRICE,
            }
    assert Run.objects.count() == Hold.objects.count() == 100
    assert balance(ada.team.id).held == 100 * PRICE
    assert balance(ada.team.id).available == 0
    assert check() == []


def test_the_same_key_and_body_at_the_same_instant_is_one_run(
    web: Client, ada: Person, still: Release
) -> None:
    answers = at_once(16, lambda _: web.run(BODY, key=ada.text, once="order-1"))

    assert Counter(answer.status for answer in answers) == {201: 1, 200: 15}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert Run.objects.count() == 1
    assert balance(ada.team.id).held == PRICE


def test_a_replayed_key_gives_the_first_run(web: Client, ada: Person, still: Release) -> None:
    first = web.run(BODY, key=ada.text, once="order-1")
    second = web.run(BODY, key=ada.text, once="order-1")

    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert first.json["created_at"] == second.json["created_at"]
    assert balance(ada.team.id).held == PRICE


def test_a_used_key_with_another_body_is_refused(web: Client, ada: Person, still: Release) -> None:
    web.run(BODY, key=ada.text, once="order-1")
    other = web.run(BODY | {"max_cost": "1"}, key=ada.text, once="order-1")

    assert other.status == 422
    assert other.error["code"] == "idempotency_conflict"
    assert other.error["param"] == "Idempotency-Key"
    assert Run.objects.count() == 1
    assert balance(ada.team.id).held == PRICE


def test_two_bodies_under_one_key_at_the_same_instant_make_one_run(
    web: Client, ada: Person, still: Release
) -> None:
    bodies = [BODY, {**BODY, "inputs": {"prompt": "tomato"}}]
    answers = at_once(8, lambda place: web.run(bodies[place % 2], key=ada.text, once="order-1"))

    counted = Counter(answer.status for answer in answers)
    assert counted == {201: 1, 200: 3, 422: 4}
    assert Run.objects.count() == 1


def test_another_team_may_use_the_same_idempotency_key(
    web: Client, ada: Person, cy: Person, still: Release
) -> None:
    ours = web.run(BODY, key=ada.text, once="order-1")
    theirs = web.run(BODY, key=cy.text, once="order-1")

    assert (ours.status, theirs.status) == (201, 201)
    assert ours.json["id"] != theirs.json["id"]
