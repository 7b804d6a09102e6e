"""Complaint: billed for another length, count or resolution than was asked for and delivered."""

import hashlib
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.errors import Conflict
from marketplace.metering.models import MeterEvent
from marketplace.metering.publish import publish
from marketplace.runs.models import Run
from marketplace.runs.review import decide, waiting
from tests.conftest import Person
from tests.journeys.books import (
    FREE,
    FUNDS,
    REVIEW,
    SHORT,
    charge,
    delivered,
    drawn,
    money,
    run_of,
    settle,
)
from tests.lab import Lab
from tests.marketplace import worker
from tests.marketplace.supply import SMALL, admit, ended, supplying
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_clip_reported_as_10272_seconds_waits_for_a_person(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=8)
    assert settle(*worker.claim(), delivered(8, reported=10_272)) == "settled"
    assert charge(run_id) == REVIEW
    assert money(ada) == (FUNDS, 80_000_000)
    [row] = waiting()
    assert [row[said] for said in ("requested", "reported", "measured")] == [8, 10_272, 8]
    with pytest.raises(Conflict, match="is held"):  # nobody can charge more than was quoted
        decide(run=run_id, charged={"video_second": Decimal(10_272)})
    assert money(ada) == (FUNDS, 80_000_000)
    assert decide(run=run_id, charged={"video_second": Decimal(8)}).amount == 80_000_000
    assert charge(run_id) == ("captured", 80_000_000)
    assert money(ada) == (FUNDS - 80_000_000, 0)


@pytest.mark.parametrize(
    ("behaviour", "reported"), [("lie_longer", Decimal("128.4")), ("lie_units", Decimal(1000))]
)
def test_a_lab_that_lies_is_not_paid_yet_but_its_clip_is_delivered(
    web: Client, ada: Person, clip: Release, lab: Lab, behaviour: str, reported: Decimal
) -> None:
    inputs = {"prompt": "dusk", "seconds": 1, "behaviour": behaviour} | SHORT
    asked = web.run({"model": "rehearsal/clip", "inputs": inputs}, key=ada.text)
    with supplying():
        run = ended(run_of(asked))
    assert run.state == "succeeded"
    assert charge(run.id) == REVIEW
    event = MeterEvent.objects.get()
    assert (event.requested, event.reported, event.measured) == (1, reported, 1)
    assert money(ada) == (FUNDS, 10_000_000)
    [told] = web.get(asked.json["links"]["self"], key=ada.text).json["outputs"]
    link = urlsplit(told["url"])
    file = web.call("GET", f"{link.path}?{link.query}")
    assert file.status == 200
    assert hashlib.sha256(file.body).hexdigest() == told["sha256"]


def test_who_omits_the_seconds_is_quoted_the_default_and_charged_no_more(
    web: Client, ada: Person, clip: Release
) -> None:
    asked: dict[str, Any] = {"model": "rehearsal/clip", "inputs": {"prompt": "dusk"}}
    quote = web.call("POST", "/api/v1/quotes", asked, key=ada.text).json
    answers = [web.run(asked, key=ada.text) for _ in range(2)]
    assert [a.json["inputs"]["seconds"] for a in answers] == [5, 5]  # what the lab is told
    assert {a.json["cost"]["quoted"]["nano"] for a in answers} == {50_000_000}
    assert quote["maximum"]["nano"] == 50_000_000
    assert settle(*worker.claim(), delivered(5, reported=5)) == "settled"
    assert settle(*worker.claim(), delivered(10, reported=10)) == "settled"
    assert charge(run_of(answers[0])) == ("captured", 50_000_000)
    assert charge(run_of(answers[1])) == REVIEW  # ten seconds that nobody asked for
    assert money(ada) == (FUNDS - 50_000_000, 50_000_000)


def test_a_short_clip_pays_its_length_and_not_the_ceiling(
    ada: Person, clip: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, "rehearsal/clip", **SHORT, seconds=4, behaviour="partial"))
    assert (run.state, run.outcome) == ("succeeded", "partial")
    assert run.outputs.get().seconds == 2
    assert charge(run.id) == ("captured", 20_000_000)
    assert money(ada) == (FUNDS - 20_000_000, 0)


def test_a_lab_that_reports_no_length_is_paid_what_we_counted(ada: Person, clip: Release) -> None:
    run_id = admit(ada, "rehearsal/clip", seconds=10)
    assert settle(*worker.claim(), delivered(3, reported=None)) == "settled"
    assert charge(run_id) == ("captured", 30_000_000)
    assert money(ada) == (FUNDS - 30_000_000, 0)


def test_a_batch_of_which_one_picture_is_missing_pays_the_others(
    ada: Person, still: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, **SMALL, count=4, behaviour="partial"))
    assert (run.state, run.outcome, run.outputs.count()) == ("succeeded", "partial", 3)
    assert charge(run.id) == ("captured", 6_000_000)
    assert money(ada) == (FUNDS - 6_000_000, 0)


def test_compute_reported_beyond_our_own_clock_waits_for_a_person(
    ada: Person, glyph: Release
) -> None:
    run_id = admit(ada, "kinora/glyph", prompt="red heart")
    assert settle(*worker.claim("cpu.std"), drawn("40", clock="2.5")) == "settled"
    assert charge(run_id) == REVIEW
    assert Run.objects.get().outputs.count() == 1
    event = MeterEvent.objects.get()
    assert (event.reported, event.measured, event.quantity) == (40, Decimal("2.5"), 0)
    assert money(ada) == (FUNDS, 6_000_000)  # sixty seconds, the most it may run


def test_a_resolution_is_charged_at_its_own_price_whatever_the_prompt_says(
    ada: Person, clip: Release
) -> None:
    dear = {"when": {"resolution": "480p"}, "unit_price": "0.009"}
    publish(release=clip, lines=[{"unit": "video_second", "unit_price": "0.004", "table": [dear]}])
    for resolution, prompt, charged in (
        ("480p", "dusk --resolution 180p", 45_000_000),
        ("180p", "dusk --resolution 480p", 20_000_000),
    ):
        run_id = admit(ada, "rehearsal/clip", resolution=resolution, prompt=prompt)
        end = delivered(5, reported=5, height=int(resolution[:-1]))
        assert settle(*worker.claim(), end) == "settled"
        assert charge(run_id) == ("captured", charged)
    assert money(ada) == (FUNDS - 65_000_000, 0)


@pytest.mark.parametrize(
    ("asked", "made", "differs"),
    [
        ({"resolution": "480p"}, {"height": 180}, "size"),
        ({"resolution": "180p"}, {"height": 1080}, "size"),
        ({"sound": True}, {"sound": False}, "sound"),
        ({"fps": 12}, {}, "frames a second"),
    ],
    ids=["180p for the price of 480p", "1080p behind the field's back", "mute", "another rate"],
)
def test_another_form_than_asked_for_is_delivered_but_not_charged_by_itself(
    web: Client, ada: Person, clip: Release, asked: dict[str, Any],
    made: dict[str, Any], differs: str,
) -> None:  # fmt: skip
    run_id = admit(ada, "rehearsal/clip", seconds=5, **asked)
    assert settle(*worker.claim(), delivered(5, reported=5, **made)) == "settled"
    assert charge(run_id) == REVIEW
    assert money(ada) == (FUNDS, 50_000_000)
    told = web.get(f"/api/v1/runs/{ids.public('run', run_id)}", key=ada.text).json
    assert (told["state"], len(told["outputs"])) == ("succeeded", 1)
    assert [check["what"] for check in told["checks"] if not check["agrees"]] == [differs]
    assert decide(run=run_id, charged={"video_second": Decimal(2)}).amount == 20_000_000
    assert charge(run_id) == ("captured", 20_000_000)
    assert money(ada) == (FUNDS - 20_000_000, 0)


def test_a_free_part_of_another_form_waits_for_nobody(ada: Person, clip: Release) -> None:
    free = dict(clip.outcome_policy) | {"partial": "nothing"}
    publish(release=clip, lines=[{"unit": "video_second", "unit_price": "0.01"}], policy=free)
    run_id = admit(ada, "rehearsal/clip", seconds=5)
    assert settle(*worker.claim(), delivered(2, reported=2, height=180)) == "settled"
    assert charge(run_id) == FREE
    assert money(ada) == (FUNDS, 0)
