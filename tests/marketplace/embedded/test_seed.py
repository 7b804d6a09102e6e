"""Seeding fills what is missing, through the ledger, and repeats safely."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey, Member, Team, User
from marketplace.catalog.models import Example, Lab, Model, Release
from marketplace.embedded import roster, seed
from marketplace.fleet.models import Pool, Worker
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.ledger.models import Account, Entry
from marketplace.metering.models import Price
from marketplace.money import NANO

TABLES = (
    ApiKey, Member, Team, User, Example, Lab, Model, Release, Pool, Worker, Account, Entry, Price,
)  # fmt: skip
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets and demo.json of these tests go to a folder of their own."""
    monkeypatch.setattr(settings, "DATA", tmp_path)
    (tmp_path / "secrets").mkdir()
    return tmp_path


def counts() -> dict[str, int]:
    return {table.__name__: table._default_manager.count() for table in TABLES}


def test_eight_releases_are_on_sale_at_their_prices() -> None:
    seed.seed()
    on_sale = {
        release.full_name: (release.adapter, release.queue, price.lines, price.version)
        for release in Release.objects.live()
        for price in release.prices.filter(segment="list")
    }
    assert on_sale == {
        "kinora/glyph@2026-11-21": (
            "house", "cpu.std", [{"unit": "gpu_second", "unit_price": "0.0001"}], 1,
        ),
        "kinora/glyph-motion@2026-11-20": (
            "house", "cpu.std", [{"unit": "video_second", "unit_price": "0.0005"}], 1,
        ),
        "kinora/glyph-upscale@2026-11-20": (
            "house", "cpu.std", [{"unit": "image", "unit_price": "0.0001"}], 1,
        ),
        "rehearsal/still@2026-11-20": (
            "rehearsal", "labs", [{"unit": "image", "unit_price": "0.002"}], 1,
        ),
        "rehearsal/clip@2026-11-20": (
            "rehearsal", "labs", [{"unit": "video_second", "unit_price": "0.01"}], 1,
        ),
        "rehearsal/animate@2026-11-20": (
            "rehearsal", "labs", [{"unit": "video_second", "unit_price": "0.01"}], 1,
        ),
        "rehearsal/blend@2026-11-20": (
            "rehearsal", "labs", [{"unit": "image", "unit_price": "0.002"}], 1,
        ),
        "rehearsal/tint@2026-11-20": (
            "rehearsal", "labs", [{"unit": "video_second", "unit_price": "0.01"}], 1,
        ),
    }  # fmt: skip


def test_a_newer_release_takes_the_place_of_the_one_whose_weights_are_gone() -> None:
    glyph = seed.SALES[0]
    old = seed.put_on_sale(replace(glyph, version="2026-11-20"))
    Model.objects.filter(pk=old.model_id).update(about="Draws at 32 pixels.")
    seed.seed()
    live = Release.objects.live().get(model=old.model)
    assert live.full_name == "kinora/glyph@2026-11-21"
    assert live.model.about != "Draws at 32 pixels."
    assert Price.objects.filter(release=old).exists()
    old.refresh_from_db()
    seed.seed()
    assert old.retired_at == Release.objects.get(pk=old.pk).retired_at is not None


def test_every_release_says_what_each_outcome_costs() -> None:
    seed.seed()
    for release in Release.objects.all():
        assert len(release.outcome_policy) == 9
        assert set(release.outcome_policy.values()) <= {"delivered", "until_cancel", "nothing"}


def test_seeding_again_changes_nothing() -> None:
    first = seed.seed()
    before = counts()
    assert seed.seed() == first
    assert counts() == before


def test_the_credit_is_a_balanced_grant_that_expires() -> None:
    demo, other = seed.seed()
    for login in (demo, other):
        [credit] = balance(login.team.id).credits
        assert (credit.kind, credit.posted, credit.held) == ("promo", 5 * NANO, 0)
        assert credit.expires_at is not None
        left = credit.expires_at - timezone.now()
        assert timedelta(days=29) < left <= timedelta(days=30)
    assert check() == []


def test_a_spent_or_expired_credit_is_followed_by_another() -> None:
    demo, _ = seed.seed()
    Account.objects.filter(team=demo.team).update(expires_at=timezone.now())
    assert balance(demo.team.id).available == 0
    seed.seed()
    assert balance(demo.team.id).available == 5 * NANO
    assert check() == []


def test_a_revoked_key_is_followed_by_another() -> None:
    demo, _ = seed.seed()
    keys.revoke(key=ApiKey.objects.get(digest=keys.digest(demo.key)))
    again, _ = seed.seed()
    assert again.key != demo.key
    assert ApiKey.objects.get(digest=keys.digest(again.key)).team == demo.team


def test_people_can_log_in_and_the_worker_can_claim(client: Any) -> None:
    demo, _ = seed.seed()
    assert client.login(email=demo.email, password=demo.password)
    worker = Worker.objects.get(name="embedded")
    assert bytes(worker.digest) == keys.digest(roster.worker_token())
    assert worker.pool.slug == "cpu.std"


def test_demo_json_says_all_that_a_script_needs_and_is_private(data: Path) -> None:
    demo, other = seed.seed()
    seed.write_down(demo, other)
    assert (data / "demo.json").stat().st_mode & 0o777 == 0o600
    found = json.loads((data / "demo.json").read_text())
    assert found == {
        "url": settings.SITE_URL,
        "key": demo.key,
        "other_team_key": other.key,
        "logins": [
            {"email": login.email, "password": login.password, "team": login.team.public_id}
            for login in (demo, other)
        ],
    }
