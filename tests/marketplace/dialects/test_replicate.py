"""Replicate's words on the wire, where its clients have no verb for them."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import ApiKey
from marketplace.catalog.models import Example, Release
from marketplace.dialects.replicate import PAGE
from marketplace.dialects.replicate_showcase import part
from marketplace.ledger.check import check
from marketplace.ledger.models import Hold
from marketplace.runs import sweep
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.dialects.test_vocabulary import GLYPH
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)
WISH = {"input": {"prompt": "a paper lantern"}}


class Replicate:
    """A caller of Replicate's addresses with Ada's key."""

    def __init__(self, web: Client, key: str) -> None:
        self.web, self.key = web, key

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        return self.web.call(method, f"/replicate/v1{path}", body, key=self.key)

    def get(self, path: str, **query: str) -> Answer:
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def predict(self) -> str:
        answer = self.call("POST", "/models/rehearsal/still/predictions", WISH)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def listed(self, **query: str) -> list[str]:
        answer = self.get("/predictions", **query)
        assert answer.status == 200, answer.body
        return [found["id"] for found in answer.json["results"]]


@pytest.fixture
def replicate(web: Client, ada: Person) -> Replicate:
    return Replicate(web, ada.text)


def stamp(run: str, **changes: Any) -> None:
    Run.objects.filter(id=ids.private("run", run)).update(**changes)


# ── predictions ───────────────────────────────────────────────────────────────────────────────


def test_predictions_are_listed_from_an_instant_until_before_another(
    replicate: Replicate, still: Release
) -> None:
    made = [replicate.predict() for _ in range(3)]
    noon = timezone.now().replace(microsecond=0)
    for minute, run in enumerate(made):
        stamp(run, created_at=noon + timedelta(minutes=minute))
    one, two = (str((noon + timedelta(minutes=n)).isoformat()) for n in (1, 2))
    assert replicate.listed(created_after=one) == made[:0:-1]
    assert replicate.listed(created_before=two) == made[1::-1]
    assert replicate.listed(created_after=one, created_before=two) == [made[1]]
    assert replicate.listed(created_after="2100-01-01") == []


def test_a_second_page_has_the_filters_of_the_first(
    replicate: Replicate, still: Release, ada: Person
) -> None:
    first = replicate.predict()
    known = Run.objects.get()
    for _ in range(PAGE + 1):
        known.pk = ids.uuid7()
        known.save(force_insert=True)
    since = {"created_after": "2026-01-01T00:00:00+00:00"}
    page = replicate.get("/predictions", **since).json
    assert (len(page["results"]), page["previous"]) == (PAGE, None)
    asked = urlsplit(page["next"])
    assert asked.path == "/replicate/v1/predictions"
    rest = replicate.web.get(f"{asked.path}?{asked.query}", key=ada.text).json
    assert [len(rest["results"]), rest["next"]] == [2, None]
    assert rest["results"][-1]["id"] == first
    assert "created_after=2026-01-01" in asked.query


def test_what_was_asked_for_on_a_page_is_told_apart(replicate: Replicate, still: Release) -> None:
    by_key, by_hand = replicate.predict(), replicate.predict()
    stamp(by_hand, key=None)
    assert ApiKey.objects.exists()
    assert replicate.listed(source="web") == [by_hand]
    told = {found["id"]: found["source"] for found in replicate.get("/predictions").json["results"]}
    assert told == {by_key: "api", by_hand: "web"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "0001-01-01"}, "created_before"),
        ({"source": "api"}, "source"),
        ({"cursor": "cD0y"}, "cursor"),
    ],
)
def test_a_wrong_filter_is_named(
    replicate: Replicate, still: Release, query: dict[str, str], field: str
) -> None:
    answer = replicate.get("/predictions", **query)
    assert (answer.status, answer.json["invalid_fields"][0]["field"]) == (422, field)


# ── models ────────────────────────────────────────────────────────────────────────────────────


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [f"{found['owner']}/{found['name']}" for found in answer.json["results"]]


def published_anew(release: Release) -> None:
    """A newer release of the same model at the same price."""
    later, price = Release.objects.get(pk=release.pk), release.prices.get()
    later.pk, later.version, later.published_at = None, "2026-11-21", timezone.now()
    later.save()
    price.pk, price.release = None, later
    price.save()


def test_models_are_listed_in_the_order_that_is_asked_for(
    replicate: Replicate, still: Release, clip: Release, glyph: Release
) -> None:
    now = timezone.now()
    for age, release in enumerate((clip, glyph, still)):
        Release.objects.filter(pk=release.pk).update(published_at=now - timedelta(days=age + 1))
    published_anew(still)
    created = ["rehearsal/clip", "kinora/glyph", "rehearsal/still"]
    assert names(replicate.get("/models")) == ["rehearsal/still", *created[:2]]
    assert names(replicate.get("/models", sort_by="model_created_at")) == created
    rising = replicate.get("/models", sort_by="model_created_at", sort_direction="asc")
    assert names(rising) == created[::-1]
    for query in ({"sort_by": "name"}, {"sort_direction": "up"}, {"cursor": "cD0y"}):
        wrong = replicate.get("/models", **query)
        assert (wrong.status, wrong.json["invalid_fields"][0]["field"]) == (422, *query)


def test_a_list_is_cut_into_pages_that_miss_nothing_and_repeat_nothing() -> None:
    ranks = {f"2026-11-{day:02}T00:00:00+00:00/lab/model": GLYPH for day in range(1, 8)}
    for falling in (True, False):
        seen, cursor = 0, None
        for size in (3, 3, 1):
            shown, cursor = part(ranks, falling=falling, cursor=cursor, size=3)
            assert len(shown) == size
            seen += size
        assert (seen, cursor) == (7, None)


def test_a_models_examples_are_predictions_and_the_first_is_its_own(
    replicate: Replicate, still: Release
) -> None:
    Example.objects.filter(release=still).delete()
    for place, prompt in enumerate(("dusk", "dawn")):
        Example.objects.create(
            release=still, inputs={"prompt": prompt}, image=f"films/{prompt}.png", position=place
        )
    first, second = replicate.get("/models/rehearsal/still/examples").json["results"]
    assert (first["input"], second["input"]) == ({"prompt": "dusk"}, {"prompt": "dawn"})
    assert first["output"][0].endswith("/static/films/dusk.png")
    assert (first["status"], first["model"], first["error"]) == (
        "succeeded",
        "rehearsal/still",
        None,
    )
    model = replicate.get("/models/rehearsal/still").json
    assert model["default_example"] == first
    assert model["cover_image_url"] == first["output"][0]
    assert model["latest_version"]["id"] == first["version"]


def test_a_models_read_me_is_text(replicate: Replicate, still: Release) -> None:
    still.model.about = "It *draws*."
    still.model.save()
    answer = replicate.get("/models/rehearsal/still/readme")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.decode() == f"# Rehearsal Still\n\n{still.model.summary}\n\nIt *draws*.\n"
    for path in ("readme", "examples"):
        missing = replicate.get(f"/models/rehearsal/none/{path}")
        assert (missing.status, missing.json["title"]) == (404, "Not found")


def test_a_search_finds_models_and_collections(
    replicate: Replicate, still: Release, clip: Release
) -> None:
    told = replicate.get("/search", query="stand-in Clip").json
    [found] = told["models"]
    assert (found["model"]["name"], told["query"]) == ("clip", "stand-in Clip")
    assert (told["collections"], told["pages"]) == ([], [])
    [collection] = replicate.get("/search", query="text-to-video").json["collections"]
    assert collection["models"] == ["rehearsal/clip"]
    assert len(replicate.get("/search", query="rehearsal", limit="1").json["models"]) == 1
    for query in ({"query": " "}, {"query": "a", "limit": "0"}, {"query": "a", "limit": "51"}):
        assert replicate.get("/search", **query).status == 422


# ── what others own ───────────────────────────────────────────────────────────────────────────


def test_nothing_is_trained_here(replicate: Replicate, still: Release) -> None:
    assert replicate.get("/trainings").json == {"previous": None, "next": None, "results": []}
    assert replicate.get("/trainings/zz4ibbonubfz7carwiefibzgga").status == 404
    assert replicate.call("POST", "/trainings/zz4ibbonubfz7carwiefibzgga/cancel", {}).status == 404
    version = replicate.get("/models/rehearsal/still").json["latest_version"]["id"]
    path = f"/models/rehearsal/still/versions/{version}/trainings"
    refused = replicate.call("POST", path, {"destination": "ada/own", "input": {}})
    assert (refused.status, refused.json["title"]) == (403, "Forbidden")
    assert refused.json["detail"].startswith("Kinora trains no models for others")
    changed = replicate.call("PATCH", "/models/rehearsal/still", {"description": "mine"})
    assert changed.status == 403


# ── a time to end ─────────────────────────────────────────────────────────────────────────────


def cancelling_after(replicate: Replicate, said: str) -> Answer:
    headers = {"Cancel-After": said, "Prefer": "respond-async"}
    path = "/replicate/v1/models/rehearsal/still/predictions"
    return replicate.web.call("POST", path, WISH, key=replicate.key, headers=headers)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("30s", 30), ("90", 90), ("5m", 300), ("1h30m45s", 5445), ("24h", 86_400), ("5s", 5)],
)
def test_a_prediction_has_the_deadline_that_it_is_given(
    replicate: Replicate, still: Release, said: str, seconds: int
) -> None:
    made = cancelling_after(replicate, said).json
    deadline = Run.objects.get().cancel_at
    assert deadline
    assert 0 <= seconds - (deadline - timezone.now()).total_seconds() < 60
    assert datetime.fromisoformat(made["deadline"]) == deadline
    told = replicate.get(f"/predictions/{made['id']}").json["deadline"]
    assert datetime.fromisoformat(told) == deadline
    assert sweep.late_ends() == 0


@pytest.mark.parametrize("said", ["4s", "24h1s", "soon", "", "-5", "1d", "5s5m", "1e3"])
def test_a_deadline_that_is_none_is_refused(
    replicate: Replicate, still: Release, said: str
) -> None:
    answer = cancelling_after(replicate, said)
    fault = answer.json["invalid_fields"][0]
    assert (answer.status, fault["field"]) == (422, "Cancel-After")
    assert not Run.objects.exists()


def test_what_has_not_ended_by_its_deadline_is_cancelled_once(
    replicate: Replicate, still: Release, ada: Person
) -> None:
    running, waiting, without = (
        cancelling_after(replicate, "5m").json["id"],
        cancelling_after(replicate, "5m").json["id"],
        replicate.predict(),
    )
    run_id, _ = worker.claim()
    assert ids.public("run", run_id) == running
    Run.objects.exclude(cancel_at=None).update(cancel_at="2020-01-01T00:00:00Z")
    assert sweep.late_ends() == 2
    assert sweep.late_ends() == 0
    told = {one: replicate.get(f"/predictions/{one}").json["status"] for one in (waiting, without)}
    assert told == {waiting: "canceled", without: "starting"}
    assert Run.objects.get(id=run_id).cancel_requested_at
    assert Hold.objects.get(run_id=ids.private("run", waiting)).state == "voided"
    assert check() == []
