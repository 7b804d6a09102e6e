"""A lab that fits no adapter goes on sale with a description and a line, and bills to the nano."""

import json
from pathlib import Path

import pytest
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.runs.models import Run
from partners.described import described
from partners.registry import ADAPTERS
from tests.conftest import Person
from tests.contract.counterfeit import Counterfeit, Says
from tests.contract.labs.seedance import SHAPE
from tests.contract.test_described import SEEDANCE
from tests.journeys.books import charge, run_of
from tests.lab import open_lab
from tests.marketplace.counterfeits import FILM, film
from tests.marketplace.supply import supplying, until
from tests.marketplace.web import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]
WISH = {"model": "rehearsal/clip", "inputs": FILM | {"prompt": "dusk"}}


def test_a_new_lab_is_one_file_and_one_line(
    ada: Person,
    clip: Release,
    settings: Settings,
    web: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "newlab.json"
    file.write_text(json.dumps({**SEEDANCE, "usage": {}}))
    monkeypatch.setitem(ADAPTERS, "newlab", described(json.loads(file.read_text())))  # the line
    Release.objects.filter(pk=clip.pk).update(adapter="newlab", target="new-1")
    lab = Counterfeit(SHAPE)
    lab.file = Says(film())
    with open_lab(lab.application()) as running, supplying():
        lab.url = settings.NEWLAB_URL = running.url
        made = web.run(
            {"model": "rehearsal/clip", "inputs": FILM | {"prompt": "dusk"}}, key=ada.text
        )
        run = run_of(made)
        until(lambda: Run.objects.filter(id=run, finished_at__isnull=False).exists(), 60)
    assert charge(run) == ("captured", 20_000_000)
    assert lab.bodies[0]["model"] == "new-1"
    told = web.get(f"/api/v1/runs/{made.json['id']}", key=ada.text).json
    assert told["state"] == "succeeded"
    assert told["cost"]["captured"]["nano"] == 20_000_000
    assert len(told["outputs"]) == 1
