"""The list of models: narrowed by facets, searched, sorted; the address says it all."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.runs.models import PaceDay
from tests.marketplace.pages.test_pages import INLINE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def three(still: Release, clip: Release, glyph: Release) -> None:
    """rehearsal/still ran in 2 s, rehearsal/clip in a minute and not always, kinora/glyph never."""
    today = timezone.now().date()
    for release, bucket, outcome, runs in (
        (still, 10, "succeeded", 8), (clip, 60, "succeeded", 90),
        (clip, 60, "supplier_error", 10), (clip, 60, "cancelled_after", 900),
    ):  # fmt: skip
        PaceDay.objects.create(
            release=release, day=today, outcome=outcome, bucket=bucket, runs=runs
        )
    long_ago = today - timedelta(days=8)
    PaceDay.objects.create(release=glyph, day=long_ago, outcome="succeeded", bucket=0, runs=10_000)


def listed(query: str = "", **headers: str) -> list[str]:
    answer = Client().get(f"{reverse('models')}?{query}", headers=headers)
    assert answer.status_code == 200
    text = answer.content.decode()
    assert not INLINE.search(text)
    return re.findall(r'class="entry" href="/models/([^"]+)"', text)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["rehearsal/clip", "rehearsal/still", "kinora/glyph"]),
        ("sort=speed", ["rehearsal/still", "rehearsal/clip", "kinora/glyph"]),
        ("sort=success", ["rehearsal/still", "rehearsal/clip", "kinora/glyph"]),
        ("lab=kinora", ["kinora/glyph"]),
        ("task=text-to-image", ["rehearsal/still", "kinora/glyph"]),
        ("task=text-to-image&lab=rehearsal", ["rehearsal/still"]),
        ("lab=rehearsal&lab=kinora", ["rehearsal/clip", "rehearsal/still", "kinora/glyph"]),
        ("unit=video_second", ["rehearsal/clip"]),
        ("unit=gpu_second", ["kinora/glyph"]),
        ("speed=fast", ["rehearsal/still"]),
        ("speed=long&speed=untried", ["rehearsal/clip", "kinora/glyph"]),
        ("q=GLYPH", ["kinora/glyph"]),
        ("q=rehearsal+video", ["rehearsal/clip"]),
        ("q=zebra", []),
        ("lab=nobody", []),
        ("sort=nonsense&q=%20", ["rehearsal/clip", "rehearsal/still", "kinora/glyph"]),
    ],
)
def test_the_address_narrows_and_sorts(query: str, found: list[str]) -> None:
    assert listed(query) == found


@pytest.mark.usefixtures("three")
def test_a_model_shows_its_median_and_its_success_of_the_last_days() -> None:
    text = Client().get(reverse("models") + "?lab=rehearsal").content.decode()
    assert "2.1 s" in text
    assert "100 % succeed" in text
    assert "1 min 06 s" in text
    assert "90 % succeed" in text
    page = Client().get(reverse("model", args=["rehearsal", "clip"])).content.decode()
    assert "90 % succeed" in page
    assert "not run lately" not in text


@pytest.mark.usefixtures("three")
def test_a_facet_counts_what_it_would_show_beside_the_others() -> None:
    text = Client().get(reverse("models") + "?task=text-to-image&lab=kinora").content.decode()
    counts = dict(re.findall(r'id="count-([a-z]+-[a-z_-]+)">(\d+)<', text))
    assert counts["lab-kinora"] == "1"
    assert counts["lab-rehearsal"] == "1"  # one may be chosen beside the other
    assert counts["task-text-to-image"] == "1"
    assert counts["unit-video_second"] == "0"
    assert 'value="kinora" checked' in text


@pytest.mark.usefixtures("three")
def test_htmx_gets_the_list_with_its_counts_and_a_tidy_address() -> None:
    query = "q=+still+&sort=used&lab=rehearsal"
    answer = Client().get(f"{reverse('models')}?{query}", headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert answer.headers["HX-Replace-Url"] == "/models?q=still&lab=rehearsal"
    assert "<html" not in text
    assert 'id="count-lab-kinora" hx-swap-oob="true">0<' in text
    assert "1 of 3 models" in text


@pytest.mark.usefixtures("three")
def test_where_nothing_fits_a_link_leads_back_to_all() -> None:
    text = Client().get(reverse("models") + "?q=zebra").content.decode()
    assert "No model is like that" in text
    assert f'href="{reverse("models")}">Show all models' in text


def test_an_empty_catalog_says_how_it_is_filled() -> None:
    assert "python manage.py seed" in Client().get(reverse("models")).content.decode()


def test_what_is_asked_for_is_shown_as_text(three: None) -> None:
    text = Client().get(reverse("models") + "?q=%22%3E%3Cscript%3E&lab=%3Cb%3E").content.decode()
    assert "<script>" not in text
    assert 'value="&quot;&gt;&lt;script&gt;"' in text
