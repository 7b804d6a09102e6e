"""Whatever is published after a run was admitted, the run keeps its price: on the real database."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.metering import segments
from marketplace.metering.models import Price
from marketplace.metering.publish import publish
from marketplace.runs.receipt import receipt
from tests.conftest import Person
from tests.journeys.books import charge, delivered, settle
from tests.marketplace import worker
from tests.marketplace.metering.generated import Draw
from tests.marketplace.supply import admit

pytestmark = pytest.mark.django_db(transaction=True)
PINNED_SQL = """
    SELECT r.id, r.price_id, h.price_id, h.quoted, h.amount, p.lines, p.policy, p.digest
      FROM runs_run r
      JOIN ledger_hold h ON h.run_id = r.id
      JOIN metering_price p ON p.id = r.price_id
     ORDER BY r.id"""


def pinned() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(PINNED_SQL)
        return list(cursor.fetchall())


def test_no_publish_changes_an_older_runs_price(
    ada: Person, cy: Person, clip: Release, settings: Settings
) -> None:
    settings.PRICE_NOTICE_DAYS = 0
    mine = segments.contract(ada.team.id)
    publish(release=clip, lines=[{"unit": "video_second", "unit_price": "0.007"}], segment=mine)
    runs = [admit(person, "rehearsal/clip", seconds=5) for person in (ada, cy, ada)]
    before = pinned()
    receipts = [receipt(run, who.team.id) for run, who in zip(runs, (ada, cy, ada), strict=True)]
    draw = Draw(seed=3)
    for n in range(24):
        line = {"unit": "video_second", "unit_price": draw.money(), "factors": draw.cases("factor")}
        line["factors"] = [f for f in line["factors"] if "between" in f]
        publish(release=clip, lines=[line], segment=("list", mine, "window:launch")[n % 3])
    assert pinned() == before
    again = [receipt(run, who.team.id) for run, who in zip(runs, (ada, cy, ada), strict=True)]
    assert [r["price"] for r in again] == [r["price"] for r in receipts]
    for _ in runs:
        assert settle(*worker.claim(), delivered(5, reported=Decimal(5))) == "settled"
    assert [charge(run)[1] for run in runs] == [35_000_000, 50_000_000, 35_000_000]
    assert Price.objects.filter(release=clip).count() == 26
