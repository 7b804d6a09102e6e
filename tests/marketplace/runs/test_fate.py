"""A job is handed in once: whoever dies, whenever, and at a lab that knows no key for it."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.ledger.balance import balance
from marketplace.runs import claim, fate, sweep
from marketplace.runs.connections import rows
from marketplace.runs.labs import Fate
from marketplace.runs.models import Attempt, Decision, Run, Uncosted
from tests.conftest import PASSWORD, Person
from tests.contract.counterfeit import Counterfeit, Says
from tests.contract.labs.kling import made, told
from tests.marketplace.counterfeits import FILM, counterfeit, sold_by
from tests.marketplace.processes import supplier_process
from tests.marketplace.supply import admit, closed, ended, supplying, until
from tests.running import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]
FREE, PAID = ("voided", 0), ("captured", 20_000_000)


@pytest.fixture
def luma(clip: Release) -> Iterator[Counterfeit]:
    """A lab that knows no key and no name of ours."""
    sold_by(clip, "luma")
    with counterfeit("luma") as lab:
        yield lab


@pytest.fixture
def kling(clip: Release) -> Iterator[Counterfeit]:
    """A lab that can be asked for a job by our name for it."""
    sold_by(clip, "kling")
    with counterfeit("kling") as lab:
        lab.to_questions = (Says(told("succeed", task_result=made("2.0"))),)
        yield lab


def taken(person: Person) -> UUID:
    return admit(person, "rehearsal/clip", **FILM)


def killed(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(10)


def seen(run_id: UUID) -> list[str]:
    return [each["what"] for each in Fate.objects.get(run_id=run_id).evidence]


def test_killed_before_the_lab_is_reached_the_job_is_handed_in_by_the_next(
    ada: Person, luma: Counterfeit
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with supplier_process(KINORA_LUMA_URL=nowhere) as first:
        run_id = taken(ada)
        until(lambda: Run.objects.filter(id=run_id, state="running").exists(), 60)
        until(lambda: Attempt.objects.filter(run=run_id, submitting_at=None).exists())
        killed(first)
    Attempt.objects.filter(run=run_id).update(submitting_at=None)  # it may have died in a try
    with supplier_process(KINORA_LUMA_URL=luma.url):
        until(lambda: Run.objects.filter(id=run_id, state="succeeded").exists(), 60)
    assert closed(run_id) == PAID
    assert (luma.posts, luma.jobs, Fate.objects.count()) == (1, 1, 0)


def test_killed_between_the_job_and_its_receipt_nothing_is_handed_in_again(
    ada: Person, luma: Counterfeit
) -> None:
    luma.to_job = "hang"
    with supplier_process(KINORA_LUMA_URL=luma.url) as first:
        run_id = taken(ada)
        until(lambda: luma.posts == 1, 60)
        killed(first)
    luma.to_job = "accept"
    with supplier_process(KINORA_LUMA_URL=luma.url):
        until(lambda: Run.objects.filter(id=run_id, finished_at__isnull=False).exists(), 60)
    run = Run.objects.get(id=run_id)
    assert (run.state, run.outcome, run.attempt) == ("failed", "supplier_error", 2)
    assert run.error == {
        "code": "supplier_error",
        "message": "The lab did not answer. You were not charged.",
    }
    assert closed(run_id) == FREE
    assert balance(ada.team.id).available == 5_000_000_000
    assert luma.posts == 1
    assert seen(run_id)[0] == "its process ended before the lab had answered"
    assert not Uncosted.objects.exists()


def test_a_supplier_that_is_stopped_waits_for_the_receipt(ada: Person, luma: Counterfeit) -> None:
    luma.thinks = 3.0
    with supplier_process(KINORA_LUMA_URL=luma.url, KINORA_STOP_SECONDS="15"):
        run_id = taken(ada)
        until(lambda: luma.posts == 1, 60)
    with supplier_process(KINORA_LUMA_URL=luma.url):
        until(lambda: Run.objects.filter(id=run_id, finished_at__isnull=False).exists(), 60)
    assert closed(run_id) == PAID
    assert (luma.posts, Fate.objects.count()) == (1, 0)


def test_killed_after_the_receipt_the_job_is_followed(ada: Person, luma: Counterfeit) -> None:
    luma.to_questions = ("running",)
    with supplier_process(KINORA_LUMA_URL=luma.url) as first:
        run_id = taken(ada)
        until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists(), 60)
        killed(first)
    luma.to_questions = ("succeeded",)
    with supplier_process(KINORA_LUMA_URL=luma.url):
        until(lambda: Run.objects.filter(id=run_id, state="succeeded").exists(), 60)
    assert closed(run_id) == PAID
    assert (luma.posts, luma.jobs, Fate.objects.count()) == (1, 1, 0)


def test_a_lab_that_knows_our_name_for_a_job_is_asked_for_it(
    ada: Person, kling: Counterfeit, settings: Settings
) -> None:
    kling.to_job = "drop"
    settings.KLING_URL = kling.url
    with supplying():
        run_id = taken(ada)
        assert ended(run_id).state == "succeeded"
    assert closed(run_id) == PAID
    assert (kling.posts, kling.jobs, Fate.objects.count()) == (1, 1, 0)


def test_a_run_whose_last_attempt_was_lost_in_the_midst_is_found_by_our_name(
    ada: Person, kling: Counterfeit, settings: Settings
) -> None:
    run_id = taken(ada)
    lost_in_the_midst(run_id)
    kling.keys.add("1")
    kling.jobs, kling.names = 1, [Run.objects.get(id=run_id).public_id]
    settings.KLING_URL = kling.url
    with supplying():
        assert ended(run_id).state == "succeeded"
    assert closed(run_id) == PAID
    assert (kling.posts, Fate.objects.count()) == (0, 0)


def lost_in_the_midst(run_id: UUID) -> None:
    """An attempt that marks its intention, and is never heard of again."""
    [row] = rows(claim.claim(queue="labs", worker="tests", warm=(), limit=1))
    assert row["run_id"] == run_id
    name = Run.objects.get(id=run_id).public_id
    [noted] = rows(claim.mark_submitting(run=run_id, attempt=row["attempt"], key=name))
    assert noted["marked"]
    Run.objects.filter(id=run_id).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert sweep.lapsed_leases() >= 1


def test_a_mark_of_an_attempt_that_lost_its_run_is_refused(ada: Person, luma: Counterfeit) -> None:
    run_id = taken(ada)
    rows(claim.claim(queue="labs", worker="tests", warm=(), limit=1))
    [noted] = rows(claim.mark_submitting(run=run_id, attempt=7, key="run"))
    assert not noted["marked"]
    assert Attempt.objects.get().submitting_at is None


def test_a_run_cancelled_while_its_job_is_in_doubt_keeps_the_doubt(
    ada: Person, luma: Counterfeit
) -> None:
    run_id = taken(ada)
    lost_in_the_midst(run_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run_id, ada.team.id])
    assert closed(run_id) == FREE
    assert Fate.objects.get().job_key == Run.objects.get(id=run_id).public_id


def test_a_run_out_of_attempts_keeps_the_doubt(ada: Person, luma: Counterfeit) -> None:
    run_id = taken(ada)
    Run.objects.update(most_attempts=1)
    lost_in_the_midst(run_id)
    assert Run.objects.get(id=run_id).outcome == "our_error"
    assert closed(run_id) == FREE
    assert seen(run_id) == [
        "its process ended before the lab had answered",
        "nobody was left to ask the lab",
    ]


@pytest.mark.parametrize("word", ["drop", "malformed", "html"])
def test_a_lab_that_falls_silent_over_a_job_leaves_a_doubt_with_evidence(
    ada: Person, luma: Counterfeit, settings: Settings, word: str
) -> None:
    luma.to_job = word
    settings.LUMA_URL = luma.url
    with supplying():
        run = ended(taken(ada))
    assert (run.outcome, luma.posts) == ("supplier_error", 1)
    assert closed(run.id) == FREE
    assert len(seen(run.id)) == 1


def test_a_run_given_up_while_its_job_is_handed_in_leaves_a_doubt(
    ada: Person, luma: Counterfeit, settings: Settings, clip: Release
) -> None:
    Release.objects.filter(pk=clip.pk).update(timeout_seconds=1)
    luma.to_job = "hang"
    settings.LUMA_URL = luma.url
    with supplying():
        run = ended(taken(ada))
    assert run.error is not None
    assert run.error["code"] == "timeout"
    assert closed(run.id) == FREE
    assert seen(run.id) == ["it was given up before the lab had answered"]


def test_the_supplier_finds_out_later_and_the_cost_waits_to_be_booked(
    ada: Person, kling: Counterfeit, settings: Settings
) -> None:
    run_id = taken(ada)
    Run.objects.update(most_attempts=1)
    lost_in_the_midst(run_id)
    assert sweep.SELDOM["jobs of unknown fate"]() == 1
    Fate.objects.update(ask_at=timezone.now() - timedelta(seconds=1))
    kling.jobs, kling.names = 1, [Run.objects.get(id=run_id).public_id]
    settings.KLING_URL = kling.url
    with supplying():
        until(lambda: Fate.objects.filter(state="made").exists())
    found = Fate.objects.get()
    assert found.evidence[-1]["lab"] == {"job": "job-7f3a", "usage": {"video_second": "2.0"}}
    assert Uncosted.objects.get().run_id == run_id
    assert closed(run_id) == FREE
    assert fate.unresolved() == 0


def test_a_person_says_what_became_of_it(ada: Person, luma: Counterfeit, rook: User) -> None:
    run_id = taken(ada)
    Run.objects.update(most_attempts=1)
    lost_in_the_midst(run_id)
    with pytest.raises(InvalidInput):
        fate.close(run=run_id, made=True, admin=rook, why=" ")
    with pytest.raises(NotFound):
        fate.close(run=UUID(int=1), made=True, admin=rook, why="x")
    assert (fate.unresolved(), Decision.objects.count()) == (1, 0)
    fate.close(run=run_id, made=True, admin=rook, why="invoice of November")
    assert (Uncosted.objects.count(), Decision.objects.get().act) == (1, "fate")
    with pytest.raises(Conflict):
        fate.close(run=run_id, made=False, admin=rook, why="again")
    assert Uncosted.objects.count() == 1


def test_the_inbox_shows_the_evidence_and_takes_the_answer(
    ada: Person, luma: Counterfeit, rook: User, client: Client
) -> None:
    run_id = taken(ada)
    Run.objects.update(most_attempts=1)
    lost_in_the_midst(run_id)
    assert client.login(email=rook.email, password=PASSWORD)
    page = client.get("/console/exceptions").content.decode()
    assert "its process ended before the lab had answered" in page
    address = f"/console/fates/{Run.objects.get(id=run_id).public_id}"
    assert client.post(address, {"state": "absent", "why": "their word"}).status_code == 302
    assert Fate.objects.get().state == "absent"
    assert not Uncosted.objects.exists()
