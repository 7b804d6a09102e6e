"""A version is checked, announced, never edited; older runs keep theirs."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering.models import Price
from marketplace.metering.publish import publish
from tests.marketplace.metering.conftest import SECOND


def test_the_first_price_holds_from_now_on(release: Release) -> None:
    price = publish(release=release, lines=SECOND)
    assert (price.version, price.effective_to) == (1, None)


def test_a_lower_price_supersedes_at_once_and_the_old_one_ends_there(release: Release) -> None:
    first = publish(release=release, lines=SECOND)
    second = publish(release=release, lines=[SECOND[0] | {"unit_price": "0.04"}])
    first.refresh_from_db()
    assert first.effective_to == second.effective_from
    assert second.version == 2


def test_a_rise_needs_notice_and_leaves_everything_as_it_was(release: Release) -> None:
    first = publish(release=release, lines=SECOND)
    higher = [SECOND[0] | {"unit_price": "0.06"}]
    with pytest.raises(InvalidInput, match="14 days"):
        publish(release=release, lines=higher)
    first.refresh_from_db()
    assert (first.effective_to, Price.objects.count()) == (None, 1)
    later = timezone.now() + timedelta(days=15)
    assert publish(release=release, lines=higher, effective_from=later).version == 2


def test_a_rise_hidden_in_one_row_of_a_table_needs_notice_too(release: Release) -> None:
    publish(release=release, lines=SECOND)
    row = {"when": {"sound": True}, "unit_price": "0.09"}
    with pytest.raises(InvalidInput, match="14 days"):
        publish(release=release, lines=[SECOND[0] | {"table": [row]}])


def test_a_version_cannot_begin_before_the_one_that_is_announced(release: Release) -> None:
    publish(release=release, lines=SECOND, effective_from=timezone.now() + timedelta(days=9))
    with pytest.raises(Conflict, match="Version 1 begins"):
        publish(release=release, lines=SECOND)


def test_a_price_cannot_begin_in_the_past(release: Release) -> None:
    with pytest.raises(InvalidInput) as refused:
        publish(release=release, lines=SECOND, effective_from=timezone.now() - timedelta(hours=1))
    assert refused.value.param == "effective_from"


@pytest.mark.parametrize(
    ("line", "param", "reason"),
    [
        ({"unit": "furlong", "unit_price": "1"}, "lines", "no unit"),
        ({"unit": "image", "unit_price": "1", "step": "0"}, "lines[0].step", "more than 0"),
        ({"unit": "image", "table": [{"when": {"height": 9}, "unit_price": "1"}]},
         "lines[0]", "height is no input"),
        ({"unit": "token", "unit_price": "1", "quantity": "inputs.strength"},
         "lines[0].quantity", "no least and most"),
        ({"unit": "token", "unit_price": "1", "quantity": "inputs.seed"},
         "lines[0].quantity", "no least and most"),
        ({"unit": "token", "unit_price": "1", "quantity": "1 / (inputs.seconds - 1)"},
         "lines[0].quantity", "divide by 0"),
        ({"unit": "token", "unit_price": "1", "quantity": "inputs.seconds - 5"},
         "lines[0].quantity", "negative"),
        ({"unit": "token", "unit_price": "1", "quantity": "20 - usage.video_second"},
         "lines[0].quantity", "fall"),
        ({"unit": "video_second", "table": [{"when": {"sound": True}, "unit_price": "1"}]},
         "lines", "defaults have no price"),
    ],
)  # fmt: skip
def test_what_cannot_be_bounded_is_not_published(
    release: Release, line: dict[str, Any], param: str, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        publish(release=release, lines=[line])
    assert refused.value.param == param
    assert Price.objects.count() == 0


def test_a_bounded_formula_is_published(release: Release) -> None:
    quantity = "inputs.width * 360 * usage.video_second * 24 / 1024"
    line = {"unit": "token", "unit_price": "0.000001", "quantity": quantity}
    assert publish(release=release, lines=[line]).version == 1


@pytest.mark.parametrize("statement", ["lines", "effective_from", "version"])
def test_the_database_refuses_to_edit_a_version(release: Release, statement: str) -> None:
    price = publish(release=release, lines=SECOND)
    changed = {"lines": [], "effective_from": timezone.now(), "version": 9}[statement]
    with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
        Price.objects.filter(pk=price.pk).update(**{statement: changed})
    with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
        Price.objects.filter(pk=price.pk).delete()


def test_the_database_refuses_two_prices_for_one_instant(release: Release) -> None:
    publish(release=release, lines=SECOND)
    with pytest.raises(IntegrityError, match="price_once_per_instant"), transaction.atomic():
        Price.objects.create(
            release=release, version=2, lines=SECOND, policy={}, effective_from=timezone.now()
        )
