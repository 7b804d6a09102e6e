"""Labs know the supplier by what the vault holds, and nothing that it says tells of it."""

import secrets
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.runs.models import Run
from marketplace.runs.supplier import Supplier
from marketplace.vault import lock, masters
from marketplace.vault.models import LabSecret
from tests.conftest import PASSWORD, Person
from tests.contract.counterfeit import Says
from tests.marketplace.counterfeits import FILM, counterfeit, sold_by
from tests.marketplace.processes import supplier_process
from tests.marketplace.supply import admit, closed, ended, supplying, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]
PAID = ("captured", 20_000_000)
PLANTED = "planted-7c1f"


@pytest.fixture(autouse=True)
def master(monkeypatch: pytest.MonkeyPatch) -> str:
    text = secrets.token_urlsafe(32)
    monkeypatch.setenv(masters.SECRET, text)
    return text


def put(text: str) -> None:
    lock.lock(lab="luma", field="api_key", secret=text, by="tests")


def test_a_lab_that_turns_its_key_is_served_before_and_after(
    ada: Person, clip: Release, settings: Settings
) -> None:
    """Two are good; whichever the lab takes, no run is lost, and none is handed in twice."""
    sold_by(clip, "luma")
    put("old")
    put("new")
    with counterfeit("luma") as lab:
        settings.LUMA_URL, lab.takes = lab.url, "old"
        with supplying():
            assert closed(ended(admit(ada, "rehearsal/clip", **FILM)).id) == PAID
        lab.takes = "new"
        with supplying():
            assert closed(ended(admit(ada, "rehearsal/clip", **FILM)).id) == PAID
        assert lab.posts == 2


def test_a_new_secret_is_taken_up_without_a_start(
    ada: Person, clip: Release, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.runs.supplier.VAULT_TICKS", 1)
    sold_by(clip, "luma")
    put("first")
    with counterfeit("luma") as lab:
        settings.LUMA_URL, lab.takes = lab.url, "first"
        with supplying() as supplier:
            assert ended(admit(ada, "rehearsal/clip", **FILM)).state == "succeeded"
            put("second")
            lab.takes = "second"
            until(lambda: known(supplier) == ("second", "first"))
            assert ended(admit(ada, "rehearsal/clip", **FILM)).state == "succeeded"


def known(supplier: Supplier) -> tuple[str, ...]:
    return supplier.purse.of("luma")


def test_a_secret_that_the_lab_does_not_take_fails_the_run_at_no_cost(
    ada: Person, clip: Release, settings: Settings
) -> None:
    sold_by(clip, "luma")
    put("expired")
    with counterfeit("luma") as lab:
        settings.LUMA_URL, lab.takes = lab.url, "another"
        with supplying():
            run = ended(admit(ada, "rehearsal/clip", **FILM))
    assert (run.outcome, lab.posts) == ("supplier_error", 0)
    assert run.error == {"code": "supplier_error", "message": "the lab does not take our secret"}
    assert closed(run.id) == ("voided", 0)


def test_no_log_of_a_suppliers_life_tells_a_secret(
    ada: Person,
    rook: User,
    clip: Release,
    master: str,
    tmp_path: Path,
    client: Client,
) -> None:
    """Every log line of a process through good answers, bad ones and none; and the pages on it."""
    sold_by(clip, "luma")
    put(f"{PLANTED}-old")
    put(f"{PLANTED}-new")
    LabSecret.objects.create(  # one put in another's place
        lab="bfl", field="api_key", version=1, made_by="tests",
        **LabSecret.objects.filter(version=2).values("sealed", "wrapped", "master", "made_at")[0],
    )  # fmt: skip
    log = tmp_path / "log"
    made = []
    with counterfeit("luma") as lab, log.open("wb") as out:
        lab.takes = PLANTED
        with supplier_process(out, KINORA_LUMA_URL=lab.url, KINORA_LOG="DEBUG"):
            for word in ("accept", "malformed", "drop", "html", Says({}, 500), Says({}, 401)):
                lab.to_job = word
                run_id = admit(ada, "rehearsal/clip", **FILM)
                until(lambda run_id=run_id: finished(run_id), 60)
                made.append(run_id)
    assert client.login(email=rook.email, password=PASSWORD)
    pages = [client.get(path).content for path in ("/console/exceptions", "/console/labs")]
    told = log.read_bytes() + b"".join(pages)
    told += b"".join(repr(run.error).encode() for run in Run.objects.filter(id__in=made))
    assert b"cannot be opened: bfl api_key 1 is not what was locked" in told
    assert PLANTED.encode() not in told
    assert master.encode() not in told


def finished(run_id: object) -> bool:
    return Run.objects.filter(id=run_id, finished_at__isnull=False).exists()
