"""A contract price is its team's alone, pinned like any other, and overlaps nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import Settings

from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput
from marketplace.metering import seal, segments
from marketplace.metering.binding import bind
from marketplace.metering.models import Price, Quote
from marketplace.metering.offer import Offer
from marketplace.metering.publish import publish
from marketplace.metering.sale import load_offers
from tests.conftest import Person
from tests.marketplace.metering.conftest import SECOND

pytestmark = pytest.mark.django_db(transaction=True)  # a price holds from its commit on

CHEAPER = [{"unit": "video_second", "unit_price": "0.03"}]
FIVE = {"prompt": "dusk", "seconds": 5, "width": 640, "sound": False, "strength": 1}


def offer() -> Offer:
    return load_offers()["lumen/reel"]


def cost(team: Team | None, window: str | None = None) -> int:
    seen = replace(offer(), window=window)
    return seen.for_team(team.id if team else None).quote(FIVE).maximum


def test_a_window_comes_before_a_contract_and_a_contract_before_the_list() -> None:
    team = uuid4()
    known = {"list", segments.contract(team), "window:launch", segments.contract(uuid4())}
    assert segments.chosen(known, team, ["other", "launch"]) == "window:launch"
    assert segments.chosen(known, team) == f"team:{team}"
    assert segments.chosen(known, uuid4()) == "list"
    assert segments.chosen(known, None) == "list"


def test_a_contract_is_its_teams_alone(release: Release, ada: Person, cy: Person) -> None:
    publish(release=release, lines=SECOND)
    publish(release=release, lines=CHEAPER, segment=segments.contract(ada.team.id))
    assert (cost(ada.team), cost(cy.team), cost(None)) == (150_000_000, 250_000_000, 250_000_000)
    assert offer().for_team(ada.team.id).is_contract
    # An offer that was made for one team never prices another's run.
    assert not offer().for_team(ada.team.id).for_team(cy.team.id).is_contract


def test_a_quote_pins_the_contract_of_its_own_team(
    release: Release, ada: Person, cy: Person
) -> None:
    publish(release=release, lines=SECOND)
    contract = publish(release=release, lines=CHEAPER, segment=segments.contract(ada.team.id))
    hers = bind(offer=offer().for_team(cy.team.id), inputs=FIVE, team_id=ada.team.id)
    his = bind(offer=offer().for_team(ada.team.id), inputs=FIVE, team_id=cy.team.id)
    assert (hers.price_id, hers.maximum) == (contract.pk, 150_000_000)
    assert (his.price.segment, his.maximum) == ("list", 250_000_000)
    assert Quote.objects.count() == 2


def test_a_window_price_holds_for_whom_the_window_is_open(release: Release, ada: Person) -> None:
    publish(release=release, lines=SECOND)
    publish(release=release, lines=CHEAPER, segment="window:launch")
    assert (cost(ada.team), cost(ada.team, "launch")) == (250_000_000, 150_000_000)


def test_segments_count_their_versions_apart(release: Release, ada: Person) -> None:
    contract = segments.contract(ada.team.id)
    made = [publish(release=release, lines=SECOND, segment=s) for s in ("list", contract)]
    made.append(publish(release=release, lines=CHEAPER, segment=contract))
    assert [(p.segment, p.version) for p in made] == [("list", 1), (contract, 1), (contract, 2)]
    made[0].refresh_from_db()
    assert made[0].effective_to is None


def test_a_contract_ends_by_itself_and_the_list_price_is_back(
    release: Release, ada: Person
) -> None:
    publish(release=release, lines=SECOND)
    now, contract = timezone.now(), segments.contract(ada.team.id)
    Price.objects.create(
        release=release, segment=contract, version=1, lines=CHEAPER,
        effective_from=now - timedelta(days=2), effective_to=now - timedelta(days=1),
    )  # fmt: skip
    assert cost(ada.team) == 250_000_000
    again = publish(release=release, lines=CHEAPER, segment=contract)
    assert (again.version, cost(ada.team)) == (2, 150_000_000)


def test_two_versions_of_a_segment_never_hold_at_once(release: Release, ada: Person) -> None:
    contract = segments.contract(ada.team.id)
    until = timezone.now() + timedelta(days=30)
    publish(release=release, lines=SECOND)
    publish(release=release, lines=CHEAPER, segment=contract, effective_to=until)
    with pytest.raises(Conflict, match="Version 1 holds until"):
        publish(release=release, lines=CHEAPER, segment=contract)
    assert publish(release=release, lines=CHEAPER, segment=contract, effective_from=until)


@pytest.mark.parametrize("currency", ["USD", "EUR"])
@pytest.mark.parametrize("segment", ["list", "window:launch"])
def test_the_database_refuses_an_overlap_in_any_currency_and_segment(
    release: Release, currency: str, segment: str
) -> None:
    def add(version: int, **changed: Any) -> None:
        said = {"release": release, "currency": currency, "segment": segment, "lines": SECOND}
        begins = datetime(2026, 1, 1, tzinfo=UTC)
        Price.objects.create(**said | {"version": version, "effective_from": begins} | changed)

    add(1)
    add(1, currency="GBP")
    add(1, segment="window:other")
    with pytest.raises(IntegrityError, match="price_once_per_instant"), transaction.atomic():
        add(2, effective_from=timezone.now())
    assert Price.objects.count() == 3


def test_a_contract_dearer_than_the_list_needs_notice(
    release: Release, ada: Person, settings: Settings
) -> None:
    publish(release=release, lines=CHEAPER)
    with pytest.raises(InvalidInput, match="14 days"):
        publish(release=release, lines=SECOND, segment=segments.contract(ada.team.id))
    assert Price.objects.count() == 1


@pytest.mark.parametrize(
    ("wrong", "param", "reason"),
    [
        ({"segment": "gold"}, "segment", "must be `list`"),
        ({"segment": "team:ada"}, "segment", "must be `list`"),
        ({"segment": "window:"}, "segment", "must be `list`"),
        ({"segment": f"team:{uuid4()}"}, "segment", "There is no team"),
        ({"currency": "JPY"}, "currency", "JPY has 0 decimals, .* factor of 100"),
        ({"currency": "KWD"}, "currency", "KWD has 3 decimals, .* factor of 10"),
        ({"currency": "EUR"}, "currency", "not sold here"),
        ({"effective_from": datetime(2027, 1, 1)}, "effective_from", "offset"),  # noqa: DTZ001
        ({"effective_from": datetime(2126, 1, 1, tzinfo=UTC)}, "effective_from", "731 days"),
        ({"effective_to": datetime(2027, 1, 1, tzinfo=UTC)}, "effective_to", "superseded"),
        ({"segment": "window:a", "effective_to": datetime(2020, 1, 1, tzinfo=UTC)},
         "effective_to", "after it begins"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_and_nothing_is_written(
    release: Release, wrong: dict[str, Any], param: str, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        publish(release=release, lines=SECOND, **wrong)
    assert refused.value.param == param
    assert Price.objects.count() == 0


def test_a_digest_seals_all_that_a_version_says(release: Release) -> None:
    made = publish(release=release, lines=SECOND)
    price = Price.objects.get(pk=made.pk)
    text = (
        '{"currency":"USD","effective_from":"' + price.effective_from.isoformat() + '",'
        '"lines":[{"unit":"video_second","unit_price":"0.05"}],'
        '"policy":' + json.dumps(price.policy, sort_keys=True, separators=(",", ":")) + ","
        '"release":"lumen/reel@2026-11-20","segment":"list","version":1}'
    )
    assert price.digest == sha256(text.encode()).hexdigest()
    said = {
        "release": release.full_name, "currency": "USD", "segment": "list", "version": 1,
        "lines": price.lines, "effective_from": price.effective_from, "policy": price.policy,
    }  # fmt: skip
    for name, other in (
        ("segment", "window:a"),
        ("version", 2),
        ("lines", []),
        ("policy", {"a": 1}),
    ):
        assert seal.digest(**said | {name: other}) != price.digest


def test_an_instant_is_spelt_as_it_was_sealed(release: Release) -> None:
    """PostgreSQL leaves trailing zeros of a second out; the digest is of Python's spelling."""
    for micros in (0, 434_160, 1):
        start = timezone.now().replace(microsecond=micros) - timedelta(days=3)
        price = Price.objects.create(
            release=release, segment=f"window:w{micros}", version=1, lines=SECOND,
            effective_from=start,
        )  # fmt: skip
        if micros == 0:
            publish(release=release, lines=SECOND)
        shown = offer().prices[price.segment].effective_from
        assert shown == start.isoformat()


def test_dearer_hours_and_small_amounts_are_rises_too(release: Release) -> None:
    publish(release=release, lines=[SECOND[0] | {"factors": [OFF_PEAK]}])
    for dearer in (SECOND[0], SECOND[0] | {"factors": [OFF_PEAK], "minimum": "3"}):
        with pytest.raises(InvalidInput, match="14 days"):
            publish(release=release, lines=[dearer])
    assert Price.objects.count() == 1


OFF_PEAK = {"between": ["22:00", "06:00"], "factor": "0.5"}
