"""A lab that lies costs a customer at most the quote, and an admin sees it with its evidence.

Every lie that a lab's API can tell, through the gateway's own API and that lab's counterfeit.
"""

from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
from django.test import Client as Browser
from pytest_django import Settings

from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.runs.labs import Fate
from marketplace.runs.margin import margins
from marketplace.runs.models import Run
from tests.conftest import PASSWORD, Person
from tests.contract.counterfeit import Says
from tests.contract.labs import kling, luma, seedance
from tests.journeys.books import FREE, FUNDS, REVIEW, charge, money, run_of
from tests.marketplace.counterfeits import FILM, counterfeit, film, sold_by
from tests.marketplace.supply import supplying, until
from tests.marketplace.web import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("labs queue")]
WISH = {"model": "rehearsal/clip", "inputs": FILM | {"prompt": "dusk"}}
QUOTE = 20_000_000
PAID = ("captured", QUOTE)


@dataclass(frozen=True)
class Lie:
    """job, end: what the lab does, as `Counterfeit` takes it. fate: the run's open doubt."""

    lab: str
    hold: tuple[str, int]
    job: Any = "accept"
    end: Any = "succeeded"
    file: bytes = b""
    fate: bool = False


def clip_of(seconds: str) -> Says:
    return Says(kling.told("succeed", task_result=kling.made(seconds)))


LIES = {
    "10,272 seconds for two": Lie("kling", REVIEW, end=clip_of("10272")),
    "milliseconds for seconds": Lie("kling", REVIEW, end=clip_of("2000")),
    "a length that is no number": Lie("kling", PAID, end=clip_of("NaN")),
    "a length below nothing": Lie("kling", PAID, end=clip_of("-2")),
    "a longer clip than asked for": Lie("luma", REVIEW, file=film(5)),
    "a page for a clip": Lie("luma", FREE, file=b"<!doctype html>"),
    "success with nothing": Lie("luma", FREE, end="empty"),
    "yes with an error in it": Lie("seedance", FREE, job=Says(seedance.SHAPE.error_200)),
    "yes that breaks off": Lie("luma", FREE, job="malformed", fate=True),
    "yes, and a page": Lie("luma", FREE, job="html", fate=True),
    "silence over a job that it has": Lie("luma", FREE, job="drop", fate=True),
    "its own failure over a job that it has": Lie("luma", FREE, job=Says({}, 500), fate=True),
    "a receipt that is an address": Lie(
        "luma", FREE, job=Says(luma.SHAPE.receipt | {"id": "../../keys?all=1"}), fate=True
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_never_paid_by_the_customer_and_is_seen(
    ada: Person, rook: User, clip: Release, settings: Settings, web: Client, name: str
) -> None:
    told = LIES[name]
    sold_by(clip, told.lab)
    with counterfeit(told.lab) as lab, supplying():
        setattr(settings, f"{told.lab.upper()}_URL", lab.url)
        lab.to_job, lab.to_questions = told.job, (told.end,)
        lab.file = Says(told.file or film())
        made = web.run(
            {"model": "rehearsal/clip", "inputs": FILM | {"prompt": "dusk"}}, key=ada.text
        )
        run_id = run_of(made)
        until(lambda: Run.objects.filter(id=run_id, finished_at__isnull=False).exists(), 60)
        assert lab.posts == 1
    state, captured = charge(run_id)
    assert (state, captured) == told.hold
    assert captured <= QUOTE
    posted, held = money(ada)
    assert (posted, held) == (FUNDS - captured, QUOTE if told.hold == REVIEW else 0)
    assert Fate.objects.filter(run_id=run_id, state="open").exists() == told.fate
    if told.fate or told.hold == REVIEW:
        assert seen_by(rook, made.json["id"], told)


def seen_by(admin: User, run: str, told: Lie) -> bool:
    """Whether the inbox shows it with what was seen."""
    browser = Browser()
    assert browser.login(email=admin.email, password=PASSWORD)
    page = unescape(browser.get("/console/exceptions").content.decode())
    if told.fate:
        return run in page and all(each["what"] in page for each in Fate.objects.get().evidence)
    assert "Witnesses disagree" in page
    evidence = browser.get(f"/console/exceptions/{run}").content.decode()
    return "Three witnesses" in evidence


def test_price_cost_and_margin_of_a_settled_run_sum_exactly(
    ada: Person, clip: Release, settings: Settings, web: Client
) -> None:
    sold_by(clip, "luma")
    with counterfeit("luma") as lab, supplying():
        settings.LUMA_URL = lab.url
        made = web.run(
            {"model": "rehearsal/clip", "inputs": FILM | {"prompt": "dusk"}}, key=ada.text
        )
        run = run_of(made)
        until(lambda: Run.objects.filter(id=run, finished_at__isnull=False).exists(), 60)
    assert charge(run) == PAID
    settled = Run.objects.get(id=run)
    assert settled.finished_at is not None
    [row] = [
        found
        for found in margins(settled.created_at, settled.finished_at.replace(year=2099))
        if found["charged"]
    ]
    assert (row["charged"], row["cost"], row["margin"]) == (QUOTE, 12_000_000, 8_000_000)
    assert row["charged"] == row["cost"] + row["margin"]
