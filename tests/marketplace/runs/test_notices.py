"""A lab sends word of a job: it is asked at once, and nothing of what was sent is believed."""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest
from pytest_django import Settings

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.runs import notice
from marketplace.runs.labs import Fate
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.contract.counterfeit import Counterfeit
from tests.marketplace.counterfeits import FILM, counterfeit, sold_by
from tests.marketplace.supply import admit, closed, ended, supplying, until
from tests.marketplace.web import Answer, Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]
HOUR = 3600.0


@pytest.fixture
def luma(
    clip: Release, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Counterfeit]:
    """A lab that is asked once an hour, unless it sends word."""
    monkeypatch.setattr("marketplace.runs.execute.FIRST_POLL", HOUR)
    monkeypatch.setattr("marketplace.runs.execute.LONGEST_POLL", HOUR)
    Release.objects.filter(pk=clip.pk).update(timeout_seconds=HOUR)
    sold_by(clip, "luma")
    with counterfeit("luma") as lab:
        settings.LUMA_URL = lab.url
        settings.LAB_NOTICES_URL = "http://127.0.0.1:1"
        yield lab


def path(run_id: UUID, lab: str = "luma") -> str:
    return notice.address(lab, run_id).removeprefix("http://127.0.0.1:1")


def word(web: Client, run_id: UUID, state: str = "completed") -> Answer:
    return web.call("POST", path(run_id), {"id": "job-7f3a", "state": state})


def waiting(person: Person) -> UUID:
    """A run whose job the lab has."""
    run_id = admit(person, "rehearsal/clip", **FILM)
    until(lambda: Run.objects.filter(id=run_id, ticket__isnull=False).exists())
    return run_id


def test_word_of_a_lab_wakes_the_question_and_the_answer_decides(
    ada: Person, luma: Counterfeit, web: Client
) -> None:
    luma.to_questions = ("running", "succeeded")
    with supplying():
        run_id = waiting(ada)
        assert luma.asked == 0
        assert luma.bodies[0]["callback_url"].endswith(path(run_id))
        assert word(web, run_id, state="failed").status == 200  # it lies: the job is under way
        until(lambda: luma.asked == 1)
        until(lambda: word(web, run_id).status == 200 and luma.asked > 1)
        assert ended(run_id).state == "succeeded"
    assert closed(run_id) == ("captured", 20_000_000)
    assert word(web, run_id).status in (200, 429)  # late, and perhaps once too often
    assert balance(ada.team.id).posted == 5_000_000_000 - 20_000_000


def test_an_address_that_is_not_ours_is_no_address(
    ada: Person, luma: Counterfeit, web: Client
) -> None:
    with supplying():
        run_id = waiting(ada)
        ours = path(run_id)
        name = ids.public("run", run_id)
        for wrong in (
            ours[:-1], ours + "x", ours.replace("luma", "kling"), ours.replace("luma", "nobody"),
            f"/labs/luma/run_nobody/{notice.token('luma', run_id)}", f"/labs/luma/{name}/",
        ):  # fmt: skip
            assert web.call("POST", wrong, {"id": "job-7f3a"}).status == 404
        assert web.call("GET", ours).status == 405
        assert luma.asked == 0
        assert closed(run_id) == ("open", 0)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"\x00" * 100, b'{"id": {"a": 1}}'])
def test_what_cannot_be_read_wakes_all_the_same(
    ada: Person, luma: Counterfeit, web: Client, body: bytes
) -> None:
    with supplying():
        run_id = waiting(ada)
        until(lambda: web.call("POST", path(run_id), body).status == 200 and luma.asked)
        assert ended(run_id).state == "succeeded"


def test_a_flood_and_a_huge_body_are_refused(ada: Person, luma: Counterfeit, web: Client) -> None:
    run_id = admit(ada, "rehearsal/clip", **FILM)
    assert web.call("POST", path(run_id), b"x" * 2_000_000).status in (413, 401)
    told = {word(web, run_id).status for _ in range(30)}
    assert told == {200, 429}
    assert closed(run_id) == ("open", 0)


def test_a_challenge_is_given_back(web: Client, settings: Settings) -> None:
    settings.LAB_NOTICES_URL = "http://127.0.0.1:1"
    answer = web.call("POST", path(UUID(int=5), "minimax"), {"challenge": "c-1"})
    assert answer.json == {"challenge": "c-1"}


def test_word_of_a_job_whose_receipt_was_lost_tells_its_fate(
    ada: Person, luma: Counterfeit, web: Client
) -> None:
    luma.to_job = "drop"
    with supplying():
        run_id = admit(ada, "rehearsal/clip", **FILM)
        assert ended(run_id).outcome == "supplier_error"
        assert Fate.objects.get().state == "open"
        until(lambda: word(web, run_id) and Fate.objects.get().state == "made")
    assert json.dumps(Fate.objects.get().evidence[-1]["lab"]) == '{"job": "job-7f3a", "usage": {}}'
    assert closed(run_id) == ("voided", 0)
