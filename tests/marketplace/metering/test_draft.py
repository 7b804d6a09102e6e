"""A draft is edited at will, published once, and prices nothing before that."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.errors import InvalidInput, NotFound
from marketplace.metering.draft import draft, publish_draft
from marketplace.metering.models import Price, PriceDraft
from marketplace.metering.publish import publish
from tests.conftest import Person
from tests.marketplace.metering.conftest import SECOND

NAME = "lumen/reel@2026-11-20"
CHEAPER = [{"unit": "video_second", "unit_price": "0.03"}]
DEARER = [{"unit": "video_second", "unit_price": "0.06"}]


def test_a_draft_is_edited_published_and_gone(release: Release) -> None:
    draft(release=release, lines=SECOND)
    draft(release=release, lines=CHEAPER)
    assert (PriceDraft.objects.count(), Price.objects.count()) == (1, 0)
    price = publish_draft(release=release)
    assert (price.lines, price.version, PriceDraft.objects.count()) == (CHEAPER, 1, 0)
    with pytest.raises(NotFound, match="no draft"):
        publish_draft(release=release)


def test_a_draft_that_may_not_be_published_yet_stays(release: Release) -> None:
    publish(release=release, lines=SECOND)
    draft(release=release, lines=DEARER)
    with pytest.raises(InvalidInput, match="14 days"):
        publish_draft(release=release)
    assert PriceDraft.objects.get().lines == DEARER
    assert Price.objects.get().effective_to is None


def test_a_wrong_draft_leaves_the_one_before(release: Release) -> None:
    draft(release=release, lines=SECOND)
    with pytest.raises(InvalidInput):
        draft(release=release, lines=[SECOND[0] | {"step": "0"}])
    assert PriceDraft.objects.get().lines == SECOND


def test_a_version_is_announced_then_published_then_superseded(release: Release) -> None:
    first = publish(release=release, lines=SECOND)
    later = publish(
        release=release, lines=DEARER, effective_from=timezone.now() + timedelta(days=20)
    )
    assert (first.state, later.state) == ("published", "announced")
    now = publish(release=release, lines=CHEAPER, segment="window:a")
    publish(release=release, lines=CHEAPER, segment="window:a")
    now.refresh_from_db()
    assert now.state == "superseded"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def written(lines: Any) -> str:
        path = tmp_path / "lines.json"
        path.write_text(json.dumps(lines))
        return str(path)

    return written


def command(*args: Any) -> str:
    out = StringIO()
    call_command("publish_price", NAME, *args, stdout=out)
    return out.getvalue()


def test_the_command_publishes_to_a_team(release: Release, ada: Person, file: Any) -> None:
    command(file(SECOND))
    said = command(file(CHEAPER), "--team", ada.team.public_id, "--until", "2027-12-31T00:00Z")
    price = Price.objects.get(segment=f"team:{ada.team.id}")
    assert (price.lines, price.effective_to is None) == (CHEAPER, False)
    assert f"v1 is the price of team:{ada.team.id} from" in said


def test_a_dry_run_shows_what_changes_and_writes_nothing(release: Release, file: Any) -> None:
    command(file(SECOND))
    said = " ".join(command(file(CHEAPER), "--dry-run").split())
    assert "$0.25 → $0.15 the defaults, at 12:00 UTC" in said
    assert "$0.50 → $0.30 seconds 10, at 12:00 UTC" in said
    assert "Would say: lumen/reel@2026-11-20 v2" in said
    assert Price.objects.get().effective_to is None
    with pytest.raises(CommandError, match="14 days"):
        command(file(DEARER), "--dry-run")
    assert "no sample run changes" in command(file(SECOND), "--dry-run")
    assert Price.objects.count() == 1


def test_the_command_drafts_and_publishes_the_draft(release: Release, file: Any) -> None:
    assert "publish it" in command(file(SECOND), "--draft")
    assert Price.objects.count() == 0
    assert "v1 is the price of list" in command()
    with pytest.raises(CommandError, match="There is no draft"):
        command()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--team", "nobody"], "no team's id"),
        (["--segment", "gold"], "segment must be"),
        (["--from", "2126-01-01T00:00Z"], "731 days"),
        (["--from", "2027-01-01T00:00"], "needs an offset"),
    ],
)
def test_the_command_says_what_is_wrong(
    release: Release, file: Any, args: list[str], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        command(file(SECOND), *args)
    assert Price.objects.count() == 0
