"""What past runs took is told before the next one, and nothing is held by it."""

import pytest
from django.test import Client as Browser
from django.urls import reverse

from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.metering.models import Prediction
from marketplace.runs import forecast
from marketplace.runs.settle import failed
from tests.conftest import PASSWORD, Person
from tests.journeys.books import drawn, settle
from tests.marketplace import worker
from tests.marketplace.supply import admit
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

WISH = {"model": "kinora/glyph", "inputs": {"prompt": "dusk", "steps": 20}}
HELD = 6_000_000  # 60 s at $0.0001


def ran(person: Person, count: int) -> None:
    """Runs of 0.01 s a step, one after the other."""
    for n in range(count):
        steps = 10 + n % 20
        run = admit(person, "kinora/glyph", steps=steps)
        claimed, attempt = worker.claim(queue="cpu.std")
        assert claimed == run
        seconds = f"{steps * 0.01:.3f}"
        assert settle(run, attempt, drawn(seconds, clock=seconds)) == "settled"


def test_a_quote_tells_what_such_runs_usually_cost(
    web: Client, ada: Person, glyph: Release
) -> None:
    ran(ada, 29)
    assert forecast.refresh() == 0
    quote = web.call("POST", "/api/v1/quotes", WISH, key=ada.text).json
    assert (quote["predicted"], quote["maximum"]["nano"]) == (None, HELD)
    ran(ada, 11)
    assert forecast.refresh() == 1
    assert forecast.refresh() == 1  # again, and there is still one
    found = Prediction.objects.get()
    assert (found.runs, found.tested, found.inside) == (30, 10, 10)
    quote = web.call("POST", "/api/v1/quotes", WISH, key=ada.text).json
    assert quote["predicted"]["low"]["nano"] == pytest.approx(20_000, abs=2)
    assert quote["predicted"]["high"]["nano"] == pytest.approx(20_000, abs=2)
    assert (quote["predicted"]["coverage"], quote["predicted"]["runs"]) == (1, 10)
    assert quote["maximum"]["nano"] == HELD
    admit(ada, "kinora/glyph", steps=20)
    assert Hold.objects.latest("created_at").amount == HELD


def test_pages_tell_it_too(ada: Person, glyph: Release) -> None:
    ran(ada, 40)
    browser, page = Browser(), ["kinora", "glyph"]
    assert browser.login(email=ada.user.email, password=PASSWORD)
    assert "fell inside" not in browser.get(reverse("model", args=page)).content.decode()
    forecast.refresh()
    said = "10 of the last 10 runs fell inside"
    assert said in browser.get(reverse("model", args=page)).content.decode()
    asked = browser.post(reverse("price", args=page), {"prompt": "dusk", "steps": "20"})
    assert said in asked.content.decode()


def test_failures_say_nothing_of_a_success(ada: Person, glyph: Release) -> None:
    ran(ada, 20)
    for _ in range(20):
        run = admit(ada, "kinora/glyph")
        worker.claim(queue="cpu.std")
        assert settle(run, 1, failed("our_error", "worker_lost", "A worker was lost.")) == "settled"
    assert forecast.refresh() == 0
