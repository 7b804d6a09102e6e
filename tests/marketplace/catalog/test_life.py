"""A release's way from draft to its end, and what it never does."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from marketplace.access import window
from marketplace.catalog import life
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering.sale import load_offers
from tests.marketplace.access import launches

DAY = timedelta(days=1)


@pytest.fixture
def draft(db: None) -> Release:
    found = launches.release("qzreel", published=None)
    launches.instants(found, stage="'draft'")
    return found


def test_a_release_goes_one_stage_at_a_time(draft: Release) -> None:
    with pytest.raises(Conflict, match="draft does not become staged"):
        life.advance(release=draft, to="staged")
    for stage in ("conformance", "vetting", "staged"):
        assert life.advance(release=draft, to=stage).stage == stage
    with pytest.raises(InvalidInput):
        life.advance(release=draft, to="live")
    assert life.advance(release=draft, to="draft").stage == "draft"


def test_only_what_is_staged_is_scheduled_and_only_until_it_is_live(draft: Release) -> None:
    soon = timezone.now() + DAY
    with pytest.raises(Conflict, match="Only a staged release"):
        life.schedule(release=draft, published_at=soon)
    launches.instants(draft, stage="'staged'")
    assert life.schedule(release=draft, published_at=soon).published_at == soon
    with pytest.raises(Conflict):
        life.schedule(release=draft, published_at=soon - 9 * DAY)
    launches.instants(draft, published_at="now()")
    with pytest.raises(Conflict):
        life.schedule(release=draft, published_at=soon)


def test_a_live_release_is_deprecated_and_then_retired(draft: Release) -> None:
    now, next_one = timezone.now(), launches.release("qznext")
    with pytest.raises(Conflict, match="Only a live release"):
        life.deprecate(release=draft, retired_at=now + DAY)
    launches.instants(draft, stage="'staged'", published_at="now()")
    with pytest.raises(Conflict):
        life.deprecate(release=draft, retired_at=now - DAY)
    with pytest.raises(InvalidInput):
        life.deprecate(release=draft, retired_at=now + DAY, successor=draft)
    ended = life.deprecate(release=draft, retired_at=now + DAY, successor=next_one)
    assert (ended.retired_at, ended.successor) == (now + DAY, next_one)


@pytest.mark.django_db(transaction=True)
def test_a_page_shows_the_promise_the_end_and_when_it_opens(db: None) -> None:
    live, later = launches.release("qzlive"), launches.release("qzlater", published=None)
    now = timezone.now()
    window.make(release=live, kind="exclusive", terms="Only here, for ever.")
    life.deprecate(release=live, retired_at=now + 9 * DAY, successor=None)
    life.schedule(release=later, published_at=now + DAY)
    window.make(release=later, kind="early_access", ends=now + DAY)
    page = Browser().get("/models/lumen/qzlive").content.decode()
    assert "Only on Kinora" in page
    assert "Only here, for ever." in page
    assert "Ends" in page
    soon = Browser().get("/models/lumen/qzlater").content.decode()
    assert "Early access" in soon
    offer: Any = load_offers()["lumen/qzlater"]
    assert offer.gate == "shown"
