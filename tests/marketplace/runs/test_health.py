"""How labs do is kept with their runs and shown; one that hangs or is down delays no other."""

import pytest
from django.test import Client
from pytest_django import Settings

from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.runs import health
from marketplace.runs.labs import LabHealth
from marketplace.runs.models import Run
from tests.conftest import PASSWORD, Person
from tests.contract.counterfeit import Says
from tests.lab import Lab
from tests.marketplace.counterfeits import FILM, counterfeit, sold_by
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]


def test_a_lab_that_is_down_is_seen_by_routing_and_by_the_console(
    ada: Person, rook: User, clip: Release, still: Release, lab: Lab, settings: Settings,
    client: Client,
) -> None:  # fmt: skip
    sold_by(clip, "luma")
    assert client.login(email=rook.email, password=PASSWORD)
    assert "No lab is being called" in client.get("/console/labs").content.decode()
    with counterfeit("luma") as luma, supplying():
        settings.LUMA_URL = luma.url
        luma.to_questions = (Says({}, 500),)
        first = admit(ada, "rehearsal/clip", **FILM)
        until(lambda: LabHealth.objects.filter(lab="luma").exclude(state="open").exists())
        assert ended(admit(ada, **SMALL)).state == "succeeded"  # another lab's
        second = admit(ada, "rehearsal/clip", **FILM)
        until(lambda: Run.objects.filter(id=second, state="running").exists())
        assert Run.objects.get(id=second).route["lab"] in {"shut", "probing"}
        page = client.get("/console/labs").content.decode()
        assert "1 lab in trouble" in page
        assert health.seen()[0]["lab"] == "luma"
        luma.to_questions = ("succeeded",)
        assert {ended(run).state for run in (first, second)} == {"succeeded"}
        until(lambda: LabHealth.objects.filter(lab="luma", state="open", in_hand=0).exists())
    assert {closed(run) for run in (first, second)} == {("captured", 20_000_000)}
    assert luma.posts == 2


def test_a_lab_that_hangs_takes_no_more_than_its_share(
    ada: Person, clip: Release, still: Release, lab: Lab, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("marketplace.runs.supplier.SHARE_OF_A_LAB", 4 / 512)  # four runs
    sold_by(clip, "luma")
    with counterfeit("luma") as luma, supplying() as supplier:
        settings.LUMA_URL, luma.to_job = luma.url, "hang"
        held = [admit(ada, "rehearsal/clip", **FILM)]
        until(lambda: luma.posts == 1)
        held += [admit(ada, "rehearsal/clip", **FILM) for _ in range(3)]
        until(lambda: luma.posts == 4)
        held += [admit(ada, "rehearsal/clip", **FILM) for _ in range(3)]
        assert ended(admit(ada, **SMALL)).state == "succeeded"
        hung = [w for w in supplier.works.values() if w.case.adapter == "luma"]
        assert len(hung) == 4
        assert Run.objects.filter(id__in=held, state="queued").count() == 3
