"""The usage page shows what the ledger holds, and each of its cells leads to less of it."""

import csv
import html
import io
import re
from datetime import date, timedelta

import pytest
from django.test import Client as Browser
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.ledger.refund import refund
from marketplace.runs.models import Run
from marketplace.runs.usage import fold
from tests.conftest import Person
from tests.marketplace.pages.test_pages import logged_in
from tests.marketplace.runs.test_usage import PRICE, paid

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def today() -> date:
    return timezone.now().date()


@pytest.fixture
def ada_browses(ada: Person, still: Release) -> Browser:
    """Ada after three pictures with her key for a film, and one from the playground."""
    first = paid(ada, 3)
    Run.objects.update(key_id=ada.key.id, project="film")
    paid(ada)
    fold()
    refund(run=first, amount=500_000, reference="r", note="half a picture")
    return logged_in(ada)


def text(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def values(page: str) -> list[int]:
    """The exact amounts in the table's foot."""
    return [int(v) for v in re.findall(r'value="(-?\d+)"', page[page.index("<tfoot>") :])][:4]


def links(page: str, label: str) -> str:
    [found] = set(re.findall(rf'<td><a href="([^"]+)"[^>]*>{re.escape(label)}</a>', page))
    return found


def test_totals_are_the_ledgers(ada_browses: Browser) -> None:
    page = text(ada_browses, "/usage")
    assert values(page) == [0, 4 * PRICE, 500_000, 4 * PRICE - 500_000]
    assert "4 images" not in page
    assert "3 images" in page
    assert page.count('<a class="bar"') == 30


def test_every_cell_is_a_filter(ada_browses: Browser, ada: Person, today: date) -> None:
    page = text(ada_browses, "/usage")
    for label, pictures in [("film", 3), ("No project", 1), ("ada", 3), ("Playground", 1)]:
        narrower = text(ada_browses, f"/usage{links(page, label)}")
        assert values(narrower)[1] == pictures * PRICE, label
        assert f"{label} <span" in narrower
    by_day = text(ada_browses, "/usage?by=day")
    day = links(by_day, f"{today:%-d %b %Y}")
    assert f"from={today}&to={today}" in day
    assert values(text(ada_browses, f"/usage{day}"))[1] == 4 * PRICE


def test_the_chart_is_stacked_by_what_is_not_filtered(ada_browses: Browser, ada: Person) -> None:
    for query, said in [
        ("", "Charged by model"), ("?model=rehearsal/still", "Charged by key"),
        (f"?model=rehearsal/still&key={ada.key.public_id}", "Charged by project"),
    ]:  # fmt: skip
        assert said in text(ada_browses, f"/usage{query}")


def test_nothing_has_a_next_step(ada_browses: Browser, cy: Person) -> None:
    assert "Make a red heart" in text(logged_in(cy), "/usage")
    assert "Take the filters away" in text(ada_browses, "/usage?project=none")
    page = text(ada_browses, "/usage?from=yesterday")
    assert "from must be a date such as 2026-11-20." in page
    assert values(page)[1] == 4 * PRICE


def test_the_file_has_the_same_sums(ada_browses: Browser, ada: Person, today: date) -> None:
    answer = ada_browses.get("/usage.csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="kinora-usage-{today - timedelta(days=29)}-{today}.csv"'
    )
    assert [(row["key"], row["project"], row["paid"], row["units"]) for row in rows] == [
        ("playground", "", "0.002", "image 1"), (ada.key.public_id, "film", "0.0055", "image 3"),
    ]  # fmt: skip
    assert ada_browses.get("/usage.csv?from=x").status_code == 400
