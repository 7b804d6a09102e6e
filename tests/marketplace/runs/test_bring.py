"""Runs that are given files: by id, by address, inside the request; kept, paid and forgotten."""

import base64
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web as aio
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone
from PIL import Image, ImageChops, ImageOps, ImageStat
from pytest_django import Settings

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.media import store
from marketplace.media.models import File, Leftover
from marketplace.runs import sweep
from marketplace.runs.models import Output, Run
from tests.conftest import Person
from tests.lab import Lab, open_lab
from tests.marketplace import sale, supply
from tests.marketplace.media import samples
from tests.marketplace.web import Answer, Client

PICTURE = samples.picture("PNG", (320, 180), 40)
INLINE = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
FAST = {"seconds": 1, "fps": 8, "resolution": "180p", "latency_ms": 0}


@pytest.fixture
def animate(db: None) -> Release:
    """rehearsal/animate, $0.01 a second."""
    return sale.put("rehearsal/animate")


@pytest.fixture
def site(web: Client, settings: Settings) -> Client:
    """The web process at the address that it believes to have."""
    settings.SITE_URL = f"http://127.0.0.1:{web.port}"
    return web


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    with open_lab() as found:
        settings.REHEARSAL_URL = found.url
        yield found


def run(web: Client, person: Person, image: Any, once: str | None = None, **more: Any) -> Answer:
    body = {"model": "rehearsal/animate", "inputs": {"image": image} | FAST | more}
    return web.run(body, key=person.text, once=once)


def send(web: Client, person: Person, content: bytes = PICTURE) -> dict[str, Any]:
    told: dict[str, Any] = web.call("POST", "/api/v1/files", content, key=person.text).json
    return told


def nothing_moved() -> None:
    assert not Run.objects.exists()
    assert not Hold.objects.exists()


@pytest.mark.parametrize("way", ["id", "url", "data"])
@pytest.mark.django_db(transaction=True)
def test_a_picture_becomes_the_first_frame_of_a_clip(
    site: Client, ada: Person, animate: Release, lab: Lab, way: str
) -> None:
    sent = send(site, ada)
    answer = run(site, ada, {"id": sent["id"], "url": sent["url"], "data": INLINE}[way])
    assert answer.status == 201
    assert answer.json["inputs"]["image"].startswith(f"http://127.0.0.1:{site.port}/media/files/")
    with supply.supplying():
        ended = supply.ended(ids.private("run", answer.json["id"]))
    assert (ended.state, ended.outcome) == ("succeeded", "succeeded")
    assert supply.closed(ended.id) == ("captured", 10_000_000)
    assert ended.inputs["image"].startswith("file_")
    kept = File.objects.get(id=ended.files["image"])
    assert (kept.team_id, bytes(kept.sha256).hex()) == (ada.team.id, sent["sha256"])
    with store.local(Output.objects.get().path) as clip:
        assert difference(first_frame(str(clip)), PICTURE) < 4


def first_frame(path: str) -> Image.Image:
    import av

    with av.open(path) as container:
        return next(container.decode(video=0)).to_image()


def difference(frame: Image.Image, picture: bytes) -> float:
    """Mean distance of two pictures' values, of 255."""
    import io

    given = ImageOps.fit(Image.open(io.BytesIO(picture)).convert("RGB"), frame.size)
    return max(ImageStat.Stat(ImageChops.difference(frame, given)).mean)


def test_the_receipt_shows_an_address_that_opens_the_picture(
    site: Client, ada: Person, animate: Release
) -> None:
    started = run(site, ada, INLINE).json
    shown = site.get(f"/api/v1/runs/{started['id']}/receipt", key=ada.text).json
    assert shown["inputs"] == started["inputs"]
    path = "/media" + shown["inputs"]["image"].partition("/media")[2]
    assert site.get(path).body == PICTURE


def test_the_same_bytes_brought_another_way_are_the_same_run(
    site: Client, ada: Person, animate: Release
) -> None:
    ways = [send(site, ada)["id"], send(site, ada)["url"], INLINE]
    answers = [run(site, ada, way, once="one") for way in ways]
    assert [answer.status for answer in answers] == [201, 200, 200]
    assert len({answer.json["id"] for answer in answers}) == 1
    other = run(site, ada, send(site, ada, samples.picture(shade=9))["id"], once="one")
    assert (other.status, other.error["code"]) == (422, "idempotency_conflict")
    assert Hold.objects.count() == 1


def test_a_quote_holds_for_whatever_picture_is_sent(
    site: Client, ada: Person, animate: Release
) -> None:
    wish = {"model": "rehearsal/animate", "inputs": {"image": "https://example.com/a.png"} | FAST}
    quote = site.call("POST", "/api/v1/quotes", wish, key=ada.text).json
    body = {**wish, "inputs": {"image": INLINE} | FAST, "quote": quote["id"]}
    assert site.run(body, key=ada.text).status == 201


def test_another_team_s_file_is_like_one_that_never_was(
    site: Client, ada: Person, cy: Person, animate: Release
) -> None:
    hers = send(site, ada)
    forged = hers["url"].replace(hers["id"], ids.public("file", ids.uuid7()))
    guesses = [hers["id"], ids.public("file", ids.uuid7()), forged, hers["url"][:-2] + "00"]
    answers = [run(site, cy, guess) for guess in guesses]
    assert {(a.status, a.error["param"]) for a in answers} == {(422, "inputs.image")}
    assert len({answer.body for answer in answers}) == 1
    nothing_moved()
    assert not File.objects.filter(team=cy.team).exists()


def test_whoever_has_a_whole_address_may_use_what_it_opens_and_gets_a_copy(
    site: Client, ada: Person, cy: Person, animate: Release
) -> None:
    hers = send(site, ada)
    assert run(site, cy, hers["url"]).status == 201
    copy = File.objects.get(team=cy.team)
    assert bytes(copy.sha256).hex() == hers["sha256"]
    assert copy.path != File.objects.get(team=ada.team).path


def test_an_output_is_the_next_run_s_input_by_its_address(
    site: Client, ada: Person, still: Release, animate: Release, lab: Lab
) -> None:
    with supply.supplying():
        made = supply.ended(supply.admit(ada, size="256x256", latency_ms=0))
    found = site.get(f"/api/v1/runs/{made.public_id}", key=ada.text).json["outputs"][0]
    assert run(site, ada, found["url"]).status == 201
    assert bytes(File.objects.get().sha256).hex() == found["sha256"]
    assert run(site, ada, found["url"].replace("signature=", "signature=0")).status == 422


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("file_nope", "must be a file's id, an address"),
        (7, "must be a string"),
        ("data:image/png;base64,@@", "is not base64"),
        ("data:text/html,<script>", "cannot be used"),
        ("data:image/png;base64", "no data: URI"),
        ("http://127.0.0.1:1/a.png", "its host must be a public name or address"),
        ("http://169.254.169.254/latest/", "its host must be a public name or address"),
        ("ftp://example.com/a.png", "must begin with https://"),
        ("http://10.0.0.1.nowhere.invalid/a", "its host has no public address"),
    ],
)
def test_what_is_no_file_is_refused_before_money(
    site: Client, ada: Person, animate: Release, image: Any, said: str
) -> None:
    answer = run(site, ada, image)
    assert (answer.status, answer.error["param"]) == (422, "inputs.image")
    assert said in answer.error["message"]
    nothing_moved()


def test_a_kind_that_the_release_does_not_take_is_refused_with_those_it_does(
    site: Client, ada: Person, animate: Release
) -> None:
    sound = send(site, ada, b"".join(samples.wav(1)))
    for image in (sound["id"], sound["url"]):
        answer = run(site, ada, image)
        assert answer.status == 422
        assert answer.error["message"] == (
            "inputs.image is audio/wav. Send image/gif, image/jpeg, image/png, image/webp."
        )
    nothing_moved()


def test_cheap_faults_are_found_before_anything_is_fetched(
    site: Client, ada: Person, animate: Release, settings: Settings
) -> None:
    settings.ALLOW_LOOPBACK_FETCH = True
    with serving_picture() as (url, asked):
        assert run(site, ada, url, seconds=99).error["param"] == "inputs.seconds"
        body = {"model": "rehearsal/animate", "inputs": {"image": url} | FAST, "max_cost": "0.001"}
        assert site.run(body, key=ada.text).error["code"] == "cost_above_limit"
        assert asked == []
        assert run(site, ada, url).status == 201
        assert asked == ["/cat.png"]
    assert File.objects.get().name == "cat.png"


class serving_picture:  # noqa: N801 - reads as a verb where it is used
    """A server with one picture: its address, and the paths that were asked for."""

    def __enter__(self) -> tuple[str, list[str]]:
        self.asked: list[str] = []

        async def picture(request: aio.Request) -> aio.Response:
            self.asked.append(request.path)
            return aio.Response(body=PICTURE, content_type="text/html")

        app = aio.Application()
        app.router.add_get("/cat.png", picture)
        self.lab = open_lab(app)
        return self.lab.__enter__().url + "/cat.png", self.asked

    def __exit__(self, *fault: Any) -> None:
        self.lab.__exit__(*fault)


def test_a_retry_whose_address_answers_no_more_is_its_first_run(
    site: Client, ada: Person, animate: Release, settings: Settings
) -> None:
    settings.ALLOW_LOOPBACK_FETCH = True
    with serving_picture() as (url, _):
        first = run(site, ada, url, once="one")
    again = run(site, ada, url, once="one")
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    assert run(site, ada, url, once="one", seconds=3).error["param"] == "inputs.image"
    assert run(site, ada, url, once="two").error["param"] == "inputs.image"
    assert Hold.objects.count() == 1


def test_a_waiting_or_deleted_file_is_refused(site: Client, ada: Person, animate: Release) -> None:
    waiting = site.call("POST", "/api/v1/uploads", {}, key=ada.text).json["file"]
    assert "upload them first" in run(site, ada, waiting["id"]).error["message"]
    sent = send(site, ada)
    site.call("DELETE", f"/api/v1/files/{sent['id']}", key=ada.text)
    assert "no file that is kept here" in run(site, ada, sent["id"]).error["message"]
    nothing_moved()


def later(**change: Any) -> None:
    """Let files' time have come long ago."""
    File.objects.update(expires_at=timezone.now() - timedelta(hours=1), **change)


def test_a_queued_run_keeps_the_file_that_was_deleted_meanwhile(
    site: Client, ada: Person, animate: Release, lab: Lab
) -> None:
    sent = send(site, ada)
    started = run(site, ada, sent["id"]).json
    assert site.call("DELETE", f"/api/v1/files/{sent['id']}", key=ada.text).status == 200
    later()
    assert (sweep.expired_files(), sweep.retention.clear()) == (0, 0)
    with supply.supplying():
        ended = supply.ended(ids.private("run", started["id"]))
    assert ended.state == "succeeded"
    path = File.objects.get().path
    assert (sweep.expired_files(), sweep.retention.clear()) == (1, 1)
    assert not default_storage.exists(path)
    assert (File.objects.get().path, Leftover.objects.count()) == ("", 0)


def test_shared_bytes_go_with_the_last_file_that_needs_them(site: Client, ada: Person) -> None:
    first, second = send(site, ada), send(site, ada)
    assert sweep.retention.clear() == 1  # what the second one brought
    path = File.objects.values_list("path", flat=True).distinct().get()
    site.call("DELETE", f"/api/v1/files/{first['id']}", key=ada.text)
    File.objects.filter(deleted_at__isnull=False).update(
        expires_at=timezone.now() - timedelta(hours=1)
    )
    assert (sweep.expired_files(), sweep.retention.clear()) == (1, 0)
    assert site.get("/media" + second["url"].partition("/media")[2]).body == PICTURE
    later()
    assert (sweep.expired_files(), sweep.retention.clear()) == (1, 1)
    assert not default_storage.exists(path)


def test_the_record_of_a_file_is_forgotten_by_its_own_clock(site: Client, ada: Person) -> None:
    sent = site.call("POST", "/api/v1/files?forget_in=60", PICTURE, key=ada.text).json
    stored = File.objects.get()
    assert stored.forget_at is not None
    assert stored.expires_at == stored.forget_at  # what is forgotten is not kept
    later(forget_at=timezone.now() - timedelta(hours=1))
    assert site.get(f"/api/v1/files/{sent['id']}", key=ada.text).json["state"] == "expired"
    assert (sweep.forgotten_files(), sweep.expired_files()) == (0, 1)
    assert sweep.forgotten_files() == 1
    assert not File.objects.exists()


def test_a_run_s_media_and_its_record_have_a_clock_each(
    site: Client, ada: Person, animate: Release, lab: Lab
) -> None:
    wish = {"model": "rehearsal/animate", "inputs": {"image": INLINE, "prompt": "my words"} | FAST}
    started = site.run({**wish, "expires_in": 60, "forget_in": 600}, key=ada.text).json
    with supply.supplying():
        ended = supply.ended(ids.private("run", started["id"]))
    output, brought = Output.objects.get(), File.objects.get()
    assert 50 < (output.expires_at - ended.finished_at).total_seconds() <= 61
    assert (brought.expires_at - brought.created_at).total_seconds() == 60
    assert (ended.forget_at - ended.created_at).total_seconds() == 600
    assert sweep.forget() == 0
    Run.objects.update(forget_at=timezone.now() - timedelta(seconds=1))
    receipt = f"/api/v1/runs/{started['id']}/receipt"
    before = site.get(receipt, key=ada.text).json
    assert (sweep.forget(), sweep.forget()) == (1, 0)
    after = site.get(receipt, key=ada.text).json
    assert before["inputs"]["prompt"] == "my words"
    assert after["inputs"] == FAST | {"seed": 0, "behaviour": "normal"}
    unchanged = ("lines", "usage", "cost", "entries", "price")
    assert [after[name] for name in unchanged] == [before[name] for name in unchanged]
    assert supply.closed(ended.id) == ("captured", 10_000_000)


@pytest.mark.parametrize(
    ("name", "value"), [("expires_in", 0), ("expires_in", "x"), ("forget_in", True)]
)
def test_a_wrong_clock_is_refused_before_money(
    site: Client, ada: Person, animate: Release, name: str, value: Any
) -> None:
    wish = {"model": "rehearsal/animate", "inputs": {"image": INLINE} | FAST, name: value}
    answer = site.run(wish, key=ada.text)
    assert (answer.status, answer.error["param"]) == (422, name)
    nothing_moved()


def test_sharers_and_the_sweep_at_once_lose_no_bytes(site: Client, ada: Person) -> None:
    """Equal bytes come and go from four threads while two sweep."""
    broken: list[str] = []

    def use() -> None:
        for _ in range(6):
            sent = send(site, ada)
            if site.get("/media" + sent["url"].partition("/media")[2]).body != PICTURE:
                broken.append(sent["id"])
            site.call("DELETE", f"/api/v1/files/{sent['id']}", key=ada.text)
            File.objects.filter(deleted_at__isnull=False).update(
                expires_at=timezone.now() - timedelta(hours=1)
            )
            sweep.expired_files()
            sweep.retention.clear()
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    sweep.retention.clear()
    assert not Leftover.objects.exists()
    assert not File.objects.exclude(path="").exists()
