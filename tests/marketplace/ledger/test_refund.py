"""A refund reverses the charge's own entries, never more than them, once per reference."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from itertools import accumulate
from queue import Queue
from time import sleep
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.errors import Conflict, IdempotencyConflict, InvalidInput
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close
from marketplace.ledger.check import check
from marketplace.ledger.hold import Want, hold
from marketplace.ledger.models import Account, Entry, Transfer
from marketplace.ledger.refund import Refund, refund
from marketplace.ledger.transfer import expire_credits, grant_credit
from tests.marketplace.ledger.test_race import at_once

REVENUE = "revenue:rehearsal/clip"


@pytest.fixture
def team(db: None) -> Team:
    """Two credits, 60 spent before 40."""
    team = Team.objects.create(name="Ada")
    for days, amount in ((1, 60), (2, 40)):
        grant_credit(
            team=team,
            amount=amount,
            name=f"C{days}",
            reference=f"{team.id}:{days}",
            expires_at=timezone.now() + timedelta(days=days),
        )
    return team


def charge(team: Team, *shares: tuple[str, int]) -> UUID:
    run, amount = ids.uuid7(), sum(size for _, size in shares)
    assert hold(wants=[Want(run, team.id, amount, amount, 1)])[0].code == "ok"
    close(closings={run: captured(amount, [Share(*share) for share in shares])})
    return run


def give(run: UUID, amount: int | None, reference: str = "r") -> Refund:
    return refund(run=run, amount=amount, reference=reference, note="wrong length")


def moved(transfer: int) -> dict[str, int]:
    entries = Entry.objects.filter(transfer=transfer)
    return dict(entries.values_list("account__name", "amount"))


def credits(team: Team) -> dict[str, int]:
    return dict(Account.objects.filter(team=team).values_list("name", "posted"))


def test_a_whole_refund_reverses_each_entry_of_the_charge(team: Team) -> None:
    run = charge(team, ("lab:rehearsal", 61), (REVENUE, 19))
    assert credits(team) == {"C1": 0, "C2": 20}
    done = give(run, None)
    assert (done.amount.amount, done.remaining.amount) == (80, 0)
    assert moved(done.transfer_id) == {"C1": 60, "C2": 20, "lab:rehearsal": -61, REVENUE: -19}
    booked = Transfer.objects.get(id=done.transfer_id)
    assert (booked.kind, booked.run_id, booked.note) == ("refund", run, "wrong length")
    assert balance(team.id).available == 100
    assert check() == []


def test_a_part_goes_back_to_what_was_taken_last_first(team: Team) -> None:
    run = charge(team, (REVENUE, 80))
    first, second, third = (give(run, amount, str(amount)) for amount in (15, 25, 40))
    assert moved(first.transfer_id) == {"C2": 15, REVENUE: -15}
    assert moved(second.transfer_id) == {"C2": 5, "C1": 20, REVENUE: -25}
    assert moved(third.transfer_id) == {"C1": 40, REVENUE: -40}
    after = Entry.objects.filter(transfer=second.transfer_id, account__team=team)
    assert dict(after.values_list("account__name", "balance_after")) == {"C2": 40, "C1": 20}
    assert third.remaining.amount == 0
    assert credits(team) == {"C1": 60, "C2": 40}
    assert check() == []


def test_one_nano_too_much_moves_nothing(team: Team) -> None:
    run = charge(team, (REVENUE, 80))
    give(run, 30)
    before = (credits(team), Entry.objects.count(), Transfer.objects.count())
    for amount in (0, -1):
        with pytest.raises(InvalidInput):
            give(run, amount, "s")
    with pytest.raises(Conflict, match="of the charge is left") as refusal:
        give(run, 51, "s")
    assert refusal.value.facts["refundable"]["nano"] == 50
    assert before == (credits(team), Entry.objects.count(), Transfer.objects.count())
    give(run, 50, "s")
    with pytest.raises(Conflict):
        give(run, None, "t")
    assert credits(team) == {"C1": 60, "C2": 40}
    assert check() == []


def test_what_was_not_charged_is_not_refunded(team: Team) -> None:
    free, waiting = charge(team), ids.uuid7()
    hold(wants=[Want(waiting, team.id, 9, 9, 1)])
    for run in (free, waiting, ids.uuid7()):
        with pytest.raises(Conflict, match="Nothing was charged"):
            give(run, 1)
    assert credits(team) == {"C1": 60, "C2": 40}
    assert not Transfer.objects.filter(reference="r").exists()


def test_the_same_reference_is_the_same_refund(team: Team) -> None:
    run, other = charge(team, (REVENUE, 30)), charge(team, (REVENUE, 30))
    first = give(run, 20)
    assert give(run, 20) == first
    assert give(run, None).transfer_id == first.transfer_id
    for wrong, amount, reference in ((run, 19, "r"), (other, 20, "r"), (run, 5, f"charge:{run}")):
        with pytest.raises(IdempotencyConflict):
            give(wrong, amount, reference)
    assert sum(credits(team).values()) == 60
    assert check() == []


def test_the_remainder_comes_from_the_platform(team: Team) -> None:
    run = charge(team, ("lab:a", 33), ("lab:b", 33), (REVENUE, 4))
    done = give(run, 10)  # 33 × 10 / 70 = 4.7, 4 × 10 / 70 = 0.6
    assert moved(done.transfer_id) == {"C2": 10, "lab:a": -4, "lab:b": -4, REVENUE: -2}
    rest = give(run, None, "rest")
    assert moved(rest.transfer_id) == {"C1": 60, "lab:a": -29, "lab:b": -29, REVENUE: -2}


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shares=st.lists(st.integers(0, 9) | st.integers(0, 10**17), min_size=1, max_size=5),
    fractions=st.lists(st.fractions(0, 1), max_size=5),
    credit=st.fractions(0, 1),
)
def test_any_refunds_of_any_split_are_exact(
    shares: list[int], fractions: list[object], credit: object
) -> None:
    charged = sum(shares)
    with transaction.atomic():
        team = Team.objects.create(name="Ada")
        first = int(charged * credit)  # type: ignore[operator]
        for place, amount in enumerate((first, charged - first)):
            if amount:
                name = f"{team.id}:{place}"
                grant_credit(team=team, amount=amount, name=name, reference=name, expires_at=None)
        names = ["lab:a", REVENUE, "lab:b", "holder:a", "holder:b"]
        run = charge(team, *zip(names, shares, strict=False))
        refund_in_parts(run, charged, fractions)
        assert balance(team.id).available == charged
        assert check() == []
        transaction.set_rollback(True)


def refund_in_parts(run: UUID, charged: int, fractions: Sequence[object]) -> None:
    """After each part nobody gave more than it got; after the last one all is as before."""
    left = charged
    for number, fraction in enumerate([*fractions, 1]):
        part = int(left * fraction)  # type: ignore[operator]
        if part == 0:
            continue
        sides = moved(give(run, part, f"{run}:{number}").transfer_id)
        assert sum(sides.values()) == 0
        assert sum(amount for amount in sides.values() if amount > 0) == part
        assert all(amount < 0 for name, amount in sides.items() if name.startswith(("lab", "rev")))
        left -= part
        assert check() == []
    kept: Counter[str] = Counter()
    for name, amount in Entry.objects.filter(transfer__run_id=run).values_list(
        "account__name", "amount"
    ):
        kept[name] += amount
    assert left == 0
    assert set(kept.values()) <= {0}


def test_what_goes_back_to_an_expired_credit_expires_again(team: Team) -> None:
    run = charge(team, (REVENUE, 60))
    Account.objects.filter(team=team, name="C1").update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    for reference in accumulate("abc"):  # the same amount each time
        give(run, 20, reference)
        assert credits(team) == {"C1": 20, "C2": 40}
        assert expire_credits() == 1
        assert expire_credits() == 0
    assert credits(team) == {"C1": 0, "C2": 40}
    assert balance(team.id).available == 40
    assert check() == []


def test_the_check_finds_a_refund_beyond_the_charge(team: Team) -> None:
    run = charge(team, (REVENUE, 10))
    false = Transfer.objects.create(
        kind="refund", reference="false", run_id=run, event_at=timezone.now()
    )
    sides = {REVENUE: -11, "C1": 11}
    Entry.objects.bulk_create(
        Entry(
            transfer=false,
            account=Account.objects.get(name=name),
            amount=amount,
            balance_after=None if name == REVENUE else 71,
        )
        for name, amount in sides.items()
    )
    found = "refunds of a run never exceed its charge, account by account"
    assert [line.partition(":")[0] for line in check()] == [
        "a team account's posted is the sum of its entries",
        "a hold's refunded is the sum of its refunds",
        found,
        "granted = burned + expired + voided + remaining, credit by credit",
    ]


@pytest.mark.django_db(transaction=True)
def test_refunds_at_once_never_exceed_the_charge(team: Team) -> None:
    run = charge(team, (REVENUE, 80))
    outcomes: list[str] = []

    def try_it(reference: str) -> None:
        try:
            give(run, 30, reference)
            outcomes.append("ok")
        except Conflict:
            outcomes.append("refused")

    work = [lambda n=n: try_it(f"r{n % 4}") for n in range(8)]  # each reference twice
    at_once(work)
    assert Transfer.objects.filter(kind="refund").count() == 2
    assert Counter(outcomes) == {"ok": 4, "refused": 4}
    assert balance(team.id).available == 80
    assert check() == []


@pytest.mark.django_db(transaction=True)
def test_a_refund_waits_for_the_one_under_way_and_sees_it(team: Team) -> None:
    run = charge(team, (REVENUE, 80))
    backend: Queue[int] = Queue()

    def second() -> str:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                backend.put(cursor.fetchone()[0])
            give(run, 60, "second")
        except Conflict as refusal:
            return str(refusal)
        finally:
            connection.close()
        return "refunded"

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            give(run, 30, "first")
            answer = pool.submit(second)
            pid, waiting = backend.get(timeout=30), []
            while not waiting and not answer.done():
                sleep(0.01)
                cursor.execute("SELECT pg_blocking_pids(%s)", [pid])
                [waiting] = cursor.fetchone()
            assert waiting
        assert "of the charge is left" in answer.result()
    assert sum(credits(team).values()) == 50
    assert check() == []


def test_the_command_refunds_once_per_amount(team: Team) -> None:
    run = ids.public("run", charge(team, (REVENUE, 80)))

    def command(*arguments: str) -> str:
        out = StringIO()
        call_command("refund", run, *arguments, "--note", "sorry", stdout=out)
        return out.getvalue().strip()

    part = "$0.00000003 USD refunded, $0.00000005 USD left"
    for _ in range(2):
        assert command("--amount", "0.00000003") == f"{run}  {part}"
    assert sum(credits(team).values()) == 50
    with pytest.raises(CommandError, match="of the charge is left"):
        command("--amount", "0.000000051")
    with pytest.raises(CommandError, match="must not be negative"):
        command("--amount=-1")
    command()
    assert credits(team) == {"C1": 60, "C2": 40}
    with pytest.raises(CommandError, match="not the id of a run"):
        call_command("refund", "run_x", "--note", "sorry")
