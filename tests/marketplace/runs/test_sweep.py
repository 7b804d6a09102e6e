"""What a crash left behind is put right, once, and counted."""

import os
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.db.models import F
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.ledger.models import Account, Hold
from marketplace.media import store
from marketplace.runs import sweep
from marketplace.runs.models import Attempt, Outbox, Output, Run
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying
from tests.marketplace.worker import claim, succeed

pytestmark = pytest.mark.django_db(transaction=True)


def lapse() -> None:
    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_lapsed_lease_makes_its_run_claimable_again(ada: Person, still: Release) -> None:
    run_id = admit(ada)
    claim()
    assert sweep.lapsed_leases() == 0
    lapse()
    assert sweep.lapsed_leases() == 1
    assert Attempt.objects.get().outcome == "lost"
    assert claim() == (run_id, 2)
    assert closed(run_id) == ("open", 0)


def test_a_run_whose_last_worker_went_silent_fails_and_costs_nothing(
    ada: Person, still: Release
) -> None:
    run_id = admit(ada)
    for attempt in (1, 2, 3):
        assert claim() == (run_id, attempt)
        lapse()
        assert sweep.lapsed_leases() == 1
    run = Run.objects.get()
    assert (run.state, run.outcome) == ("failed", "our_error")
    assert closed(run_id) == ("voided", 0)
    assert balance(ada.team.id).available == 5_000_000_000
    assert sweep.lapsed_leases() == 0


def test_a_cancelled_run_whose_worker_went_silent_ends_cancelled(
    ada: Person, still: Release
) -> None:
    run_id = admit(ada)
    claim()
    Run.objects.update(cancel_requested_at=timezone.now())
    lapse()
    sweep.lapsed_leases()
    assert Run.objects.get().outcome == "cancelled_after"
    assert closed(run_id) == ("voided", 0)


def test_hints_that_nobody_sent_are_sent_after_two_seconds(ada: Person, still: Release) -> None:
    admit(ada)
    assert sweep.unsent_hints() == 0
    Outbox.objects.update(created_at=F("created_at") - timedelta(seconds=3))
    assert sweep.unsent_hints() == 1
    assert not Outbox.objects.filter(topic="hint").exists()


def test_runs_that_wait_for_five_seconds_are_hinted_again(ada: Person, still: Release) -> None:
    admit(ada)
    assert sweep.long_waiting() == 0
    Run.objects.update(created_at=F("created_at") - timedelta(seconds=6))
    assert sweep.long_waiting() == 1


def test_finished_runs_are_delivered_once(ada: Person, still: Release) -> None:
    admit(ada)
    succeed(*claim())
    assert sweep.sweep(sweep.OFTEN)["finished runs delivered"] == 1
    assert sweep.sweep(sweep.OFTEN)["finished runs delivered"] == 0


def test_an_open_hold_without_a_live_run_is_counted_and_given_back_in_the_end(
    ada: Person, still: Release
) -> None:
    run_id = admit(ada)
    assert sweep.orphaned_holds() == 0
    Hold.objects.update(created_at=F("created_at") - timedelta(seconds=11))
    assert sweep.orphaned_holds() == 0
    Run.objects.update(state="failed", finished_at=timezone.now())
    assert sweep.orphaned_holds() == 1
    assert closed(run_id) == ("open", 0)
    Hold.objects.update(created_at=F("created_at") - timedelta(minutes=10))
    assert [sweep.orphaned_holds() for _ in range(2)] == [1, 0]
    assert Hold.objects.get().state == "expired"
    assert [said.partition(":")[0] for said in check()] == [
        "no hold has expired this week because its run was gone"
    ]
    assert balance(ada.team.id).held == 0


def test_what_is_left_of_an_expired_credit_leaves_its_team(ada: Person) -> None:
    Account.objects.filter(team=ada.team, kind="promo").update(expires_at=timezone.now())
    assert sweep.expired_credits() == 1
    assert balance(ada.team.id).available == 0
    assert sweep.expired_credits() == 0


def test_an_output_is_deleted_when_its_time_has_come_and_its_facts_are_kept(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, **SMALL, count=2))
    first, second = run.outputs.order_by("position")
    assert sweep.expired_outputs() == 0
    Output.objects.filter(pk=first.pk).update(expires_at=timezone.now())
    assert [sweep.expired_outputs() for _ in range(2)] == [1, 0]
    assert [default_storage.exists(output.path) for output in (first, second)] == [False, True]
    kept = Output.objects.get(pk=first.pk)
    assert (kept.path, kept.sha256, kept.width) == ("", first.sha256, 64)


def test_what_a_killed_process_left_half_written_is_forgotten_after_an_hour() -> None:
    left = store.Incoming()
    left.write(b"half of it")
    path, file = left.on_disk()
    file.close()
    assert store.forget_abandoned() == 0
    os.utime(path, (0, 0))
    assert store.forget_abandoned() == 1
    assert not path.exists()


def test_a_sweep_that_fails_does_not_keep_the_others_from_running() -> None:
    def broken() -> int:
        raise ValueError("broken")

    assert sweep.sweep({"broken": broken, "whole": lambda: 3}) == {"whole": 3}
