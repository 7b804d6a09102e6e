"""Every way to a price gives a team its own: catalog, prices, quotes, runs, pages."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.metering import segments
from marketplace.metering.models import Price, Quote
from marketplace.metering.publish import publish
from marketplace.runs.models import Run
from marketplace.runs.receipt import receipt
from tests.conftest import PASSWORD, Person
from tests.marketplace.supply import admit
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

WISH: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "dusk", "count": 2}}
PAGE = ["rehearsal", "still"]


@pytest.fixture
def contract(still: Release, ada: Person) -> Price:
    """Ada's own price of rehearsal/still: half of the list's."""
    lines = [{"unit": "image", "unit_price": "0.001"}]
    return publish(release=still, lines=lines, segment=segments.contract(ada.team.id))


@pytest.fixture
def listed(contract: Price, still: Release) -> Price:
    return Price.objects.get(release=still, segment="list")


def test_the_catalog_shows_each_team_its_own_price(
    web: Client, ada: Person, cy: Person, contract: Price, listed: Price
) -> None:
    for key, price in ((ada.text, contract), (cy.text, listed), (None, listed)):
        [row] = web.get("/api/v1/prices", key=key).json["data"]
        [model] = web.get("/api/v1/models", key=key).json["data"]
        one = web.get("/api/v1/models/rehearsal/still", key=key).json
        assert {"model": "rehearsal/still", "release": "2026-11-20", **model["price"]} == row
        assert one == model
        assert (row["segment"], row["digest"]) == (price.segment, price.digest)
        assert row["lines"][0]["unit_price"] == price.lines[0]["unit_price"]


def test_a_rise_is_announced_to_whom_it_concerns(
    web: Client, ada: Person, cy: Person, still: Release, contract: Price
) -> None:
    start = timezone.now() + timedelta(days=20)
    lines = [{"unit": "image", "unit_price": "0.003"}]
    dearer = publish(release=still, lines=lines, effective_from=start)
    for key in (cy.text, None):
        [row] = web.get("/api/v1/prices", key=key).json["data"]
        assert row["lines"][0]["unit_price"] == "0.002"
        assert row["announced"]["version"] == dearer.version
        assert row["announced"]["effective_from"] == start.isoformat()
        assert row["announced"]["lines"][0]["unit_price"] == "0.003"
    page = Browser().get(reverse("model", args=PAGE)).content.decode()
    assert f"From {start:%-d %B %Y}" in page
    [row] = web.get("/api/v1/prices", key=ada.text).json["data"]
    assert row["announced"] is None  # her contract holds
    own = publish(release=still, lines=lines, segment=contract.segment, effective_from=start)
    [row] = web.get("/api/v1/prices", key=ada.text).json["data"]
    assert row["announced"]["digest"] == own.digest


def test_a_wrong_key_is_told_so_and_not_shown_the_list(web: Client, contract: Price) -> None:
    assert web.get("/api/v1/prices", key="kin_live_nonsense").status == 401


def test_quotes_and_runs_hold_each_team_to_its_own_price(
    web: Client, ada: Person, cy: Person, contract: Price, listed: Price
) -> None:
    for person, price, nano in ((ada, contract, 2_000_000), (cy, listed, 4_000_000)):
        quote = web.call("POST", "/api/v1/quotes", WISH, key=person.text).json
        assert quote["maximum"]["nano"] == nano
        assert quote["price"]["segment"] == price.segment
        for body in (WISH, WISH | {"quote": quote["id"]}):
            assert web.run(body, key=person.text).json["cost"]["quoted"]["nano"] == nano
        assert {run.price_id for run in Run.objects.filter(team=person.team)} == {price.pk}
        assert {h.amount for h in Hold.objects.filter(team_id=person.team.id)} == {nano}


def test_a_receipt_names_the_version_it_was_priced_by(ada: Person, contract: Price) -> None:
    run = admit(ada, count=2)
    said = receipt(run, ada.team.id)["price"]
    assert said["segment"] == contract.segment
    assert said["digest"] == contract.digest
    browser = Browser()
    assert browser.login(email=ada.user.email, password=PASSWORD)
    page = browser.get(reverse("run", args=[Run.objects.get().public_id]))
    assert "Your contract price" in page.content.decode()


def test_another_teams_quote_is_nobodys(
    web: Client, ada: Person, cy: Person, contract: Price
) -> None:
    quote = web.call("POST", "/api/v1/quotes", WISH, key=ada.text).json
    refused = web.run(WISH | {"quote": quote["id"]}, key=cy.text)
    assert refused.error["code"] == "quote_unusable"
    assert not Run.objects.exists()


def test_a_quote_says_what_it_rests_on(web: Client, ada: Person, contract: Price) -> None:
    quote = web.call("POST", "/api/v1/quotes", WISH, key=ada.text).json
    assert quote["price"] == {
        "version": 1,
        "segment": contract.segment,
        "currency": "USD",
        "effective_from": contract.effective_from.isoformat(),
        "digest": contract.digest,
    }
    [line] = quote["lines"]
    assert line == {"unit": "image", "quantity": "2", "unit_price": "0.001", "amount": "0.002"}
    assert quote["expected"] == quote["maximum"]
    assert quote["id"].startswith("quote_")
    assert quote["expires_at"] > contract.effective_from.isoformat()


def test_a_quote_above_max_cost_is_refused_and_not_stored(
    web: Client, ada: Person, contract: Price
) -> None:
    def asked(max_cost: Any) -> Any:
        return web.call("POST", "/api/v1/quotes", WISH | {"max_cost": max_cost}, key=ada.text)

    refused = asked("0.0019")
    assert (refused.status, refused.error["param"]) == (402, "max_cost")
    assert refused.error["quoted"]["nano"] == 2_000_000
    assert asked("lots").error["code"] == "invalid_input"
    assert not Quote.objects.exists()
    assert asked("0.002").status == 201


def test_what_has_no_price_is_refused_with_its_field(
    web: Client, ada: Person, still: Release
) -> None:
    rows = [{"when": {"size": "512x512"}, "unit_price": "0.001"}]
    lines = [{"unit": "image", "table": rows}]
    publish(release=still, lines=lines, segment=segments.contract(ada.team.id))
    big = WISH | {"inputs": {"prompt": "dusk", "size": "768x768"}}
    for path in ("/api/v1/quotes", "/api/v1/runs"):
        refused = web.call("POST", path, big, key=ada.text)
        assert (refused.status, refused.error["param"]) == (422, "inputs.size")
        assert refused.error["message"] == "There is no price for size 768x768."
    assert not Quote.objects.exists()
    assert not Hold.objects.exists()


def test_pages_say_that_it_is_a_contract_price(ada: Person, cy: Person, contract: Price) -> None:
    def seen(person: Person | None) -> str:
        browser = Browser()
        if person:
            assert browser.login(email=person.user.email, password=PASSWORD)
        asked = {"prompt": "dusk", "count": "2"}
        answers = [
            browser.get(reverse("models")),
            browser.get(reverse("model", args=PAGE)),
            browser.post(reverse("price", args=PAGE), asked),
        ]
        return "".join(answer.content.decode().casefold() for answer in answers)

    own = seen(ada)
    assert own.count("your contract price") == 3
    assert 'value="2000000"' in own
    for other in (cy, None):
        assert "contract" not in seen(other)
        assert 'value="4000000"' in seen(other)
