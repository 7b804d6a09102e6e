"""Many connections at once on one balance: nothing is overspent, nothing deadlocks."""

import random
import threading
from uuid import UUID

import pytest
from django.db import connection, transaction

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.ledger.accounts import revenue_account
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close, voided
from marketplace.ledger.check import check
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.transfer import grant_credit

THREADS = 8


def at_once(work: "list[object]") -> None:
    """Run callables in threads that start together; raise what any of them raised."""
    barrier, faults = threading.Barrier(len(work)), []

    def body(each: object) -> None:
        barrier.wait()
        try:
            each()  # type: ignore[operator]
        except BaseException as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=body, args=[each]) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


@pytest.mark.django_db(transaction=True)
def test_a_balance_for_a_hundred_runs_admits_a_hundred() -> None:
    for repetition in range(5):
        team = Team.objects.create(name="Ada")
        grant_credit(team=team, amount=1_000, name="C", reference=f"r{repetition}", expires_at=None)
        admitted: list[UUID] = []

        def spend(team: Team = team, admitted: list[UUID] = admitted) -> None:
            for _ in range(10):
                wants = [Want(ids.uuid7(), team.id, 10, 10, 1) for _ in range(2)]
                answers = hold(wants=wants)
                admitted.extend(a.run_id for a in answers if a.code == "ok")

        at_once([spend] * THREADS)
        assert len(admitted) == 100
        assert balance(team.id).available == 0
    assert check() == []


@pytest.mark.django_db(transaction=True)
def test_batches_over_shared_teams_in_any_order_do_not_deadlock() -> None:
    teams = [Team.objects.create(name=f"T{n}") for n in range(12)]
    for team in teams:
        for n in range(2):
            grant_credit(
                team=team, amount=500, name="C", reference=f"{team.id}{n}", expires_at=None
            )
    revenue = revenue_account("kinora/glyph")

    def spend(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(12):
            wants = [
                Want(ids.uuid7(), draw.choice(teams).id, 30, draw.randrange(31), 1)
                for _ in range(15)
            ]
            held = {w.run_id: w.amount for w in wants}
            with transaction.atomic():
                taken = [a.run_id for a in hold(wants=wants) if a.code == "ok"]
            draw.shuffle(taken)
            closings = {
                run: captured(held[run], [Share(revenue, held[run])])
                if draw.random() < 0.7
                else voided()
                for run in taken
            }
            assert close(closings=closings).keys() == set(taken)

    at_once([lambda seed=seed: spend(seed) for seed in range(THREADS)])
    assert check() == []
    assert sum(balance(team.id).held for team in teams) == 0
