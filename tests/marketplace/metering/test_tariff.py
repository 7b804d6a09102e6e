"""What a lab charges us: versions that are kept, rules that are possible, exact costs."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering.models import Tariff
from marketplace.metering.outcomes import OUTCOMES
from marketplace.metering.tariff import RULES, Used, cost, publish_tariff
from marketplace.metering.units import Facts

LINES = [{"unit": "video_second", "unit_price": "0.006"}]
ALL = dict.fromkeys(OUTCOMES, "nothing")


@pytest.mark.parametrize(
    ("rule", "reported", "measured", "owed"),
    [
        ("nothing", "3", "3", 0),
        ("delivered", "3", "2.5", 15_000_000),
        ("delivered", None, "2.5", 15_000_000),
        ("delivered", "10272", "5", 30_000_000),
        ("reported", "3", None, 18_000_000),
        ("reported", "10272", None, 30_000_000),
        ("reported", None, None, 30_000_000),
        ("requested", "3", "3", 30_000_000),
    ],
)
def test_each_rule_owes_what_it_says(
    rule: str, reported: str | None, measured: str | None, owed: int
) -> None:
    used = Used(
        {} if reported is None else {"video_second": Decimal(reported)},
        {} if measured is None else {"video_second": Decimal(measured)},
        Decimal(40),
    )
    policy, facts = ALL | {"succeeded": rule}, Facts(60, {})
    found = cost(LINES, policy, "succeeded", {"seconds": 5}, facts, used, timezone.now())
    assert found == owed


def test_an_own_pool_costs_the_seconds_of_every_attempt() -> None:
    lines = [{"unit": "gpu_second", "unit_price": "0.00004"}]
    used = Used({"gpu_second": Decimal(3)}, {}, Decimal("47.25"))
    policy = dict.fromkeys(OUTCOMES, "attempts")
    for outcome in OUTCOMES:
        assert cost(lines, policy, outcome, {}, Facts(60, {}), used, timezone.now()) == 1_890_000


@pytest.mark.django_db
def test_a_version_is_superseded_and_never_edited(clip: Release) -> None:
    first = Tariff.objects.get(release=clip)
    later = timezone.now() + timedelta(days=1)
    second = publish_tariff(release=clip, lines=LINES, effective_from=later)
    first.refresh_from_db()
    assert (first.effective_to, second.version, second.effective_to) == (later, 2, None)
    with pytest.raises(Conflict):
        publish_tariff(release=clip, lines=LINES)
    with pytest.raises(IntegrityError, match="never edited"):
        Tariff.objects.update(lines=[])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"policy": {"succeeded": "delivered"}}, "policy"),
        ({"policy": ALL | {"partial": "half"}}, "policy.partial"),
        ({"policy": ALL | {"partial": "attempts"}}, "policy.partial"),
        ({"lines": []}, "lines"),
        ({"currency": "EUR"}, "currency"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    clip: Release, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        publish_tariff(**{"release": clip, "lines": LINES} | wrong)
    assert refused.value.param == param
    assert Tariff.objects.get(release=clip).effective_to is None


@pytest.mark.django_db
def test_an_own_pool_costs_compute_and_nothing_else(glyph: Release) -> None:
    for wrong in ({"lines": LINES}, {"policy": ALL | {"partial": "requested"}}):
        with pytest.raises(InvalidInput):
            publish_tariff(**{"release": glyph, "lines": Tariff.objects.get().lines} | wrong)
    assert set(RULES) >= set(Tariff.objects.get(release=glyph).policy.values())
