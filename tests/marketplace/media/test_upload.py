"""Uploads by signed address over HTTP: whole, in parts, wrong, repeated, too large."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.core.files.storage import default_storage
from pytest_django import Settings

from marketplace import ids
from marketplace.media import shelf, upload
from marketplace.media.lifetime import lifetime
from marketplace.media.models import File, Leftover
from marketplace.media.upload import Upload
from tests.conftest import Person
from tests.marketplace.media import samples
from tests.marketplace.web import Answer, Client

PICTURE = samples.picture()


def initiate(person: Person, **more: Any) -> Upload:
    given = {"team_id": person.team.id, "kept": lifetime(), "name": "cat.png"} | more
    return async_to_sync(upload.initiate)(shelf.now(), **given)


def here(url: str, step: str = "") -> str:
    parts = urlsplit(url)
    return f"{parts.path}{step}?{parts.query}"


def put(web: Client, url: str, content: bytes, step: str = "") -> Answer:
    return web.call("PUT", here(url, step), content, headers={"Content-Type": "image/png"})


def complete(web: Client, url: str, *parts: dict[str, Any]) -> Answer:
    return web.call("POST", here(url, "/complete"), {"parts": list(parts)})


def test_a_file_is_put_by_an_address_alone_and_read_by_its_own(web: Client, ada: Person) -> None:
    made = initiate(ada, content_type="text/html")
    assert web.get(here(made.file.url)).status == 404
    answer = put(web, made.url, PICTURE)
    assert answer.status == 200
    told = answer.json
    assert (told["state"], told["kind"], told["content_type"]) == ("ready", "image", "image/png")
    assert (told["width"], told["height"], told["bytes"]) == (40, 30, len(PICTURE))
    assert told["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    read = web.get(here(told["url"]))
    assert (read.status, read.body) == (200, PICTURE)
    assert read.headers["content-type"] == "image/png"
    assert read.headers["x-content-type-options"] == "nosniff"


def test_the_same_bytes_again_are_fine_and_others_are_not(web: Client, ada: Person) -> None:
    made = initiate(ada)
    assert [put(web, made.url, PICTURE).status for _ in range(2)] == [200, 200]
    answer = put(web, made.url, samples.picture(shade=10))
    assert (answer.status, answer.error["code"]) == (409, "conflict")
    assert web.get(here(made.file.url)).body == PICTURE
    assert not Leftover.objects.filter(path=File.objects.get().path).exists()


@pytest.mark.parametrize("changed", ["ticket", "file", "expired", "most"])
def test_an_address_that_is_not_whole_lets_nothing_in(
    web: Client, ada: Person, settings: Settings, changed: str
) -> None:
    made = initiate(ada)
    url = {
        "ticket": made.url[:-1] + ("0" if made.url[-1] != "0" else "1"),
        "file": made.url.replace(made.file.public_id, ids.public("file", ids.uuid7())),
        "expired": made.url.replace(made.ticket, "1-9-" + upload.signature(made.file.id, 1, 9)),
        "most": made.url.replace(f"-{settings.FILE_BYTES}-", "-999999999999-"),
    }[changed]
    answer = put(web, url, PICTURE)
    assert (answer.status, answer.error["code"]) == (403, "not_allowed")
    assert File.objects.get().ready_at is None


def test_parts_come_in_any_order_and_are_put_together_by_number(web: Client, ada: Person) -> None:
    whole = b"".join(samples.wav(3))
    cut = [whole[:1_000_000], whole[1_000_000:2_000_000], whole[2_000_000:]]
    made = initiate(ada, name="rain.wav")
    told = {}
    for number in (3, 1, 2):
        answer = put(web, made.url, cut[number - 1], f"/{number}")
        assert answer.headers["etag"] == answer.json["etag"]
        told[number] = answer.json
    answer = complete(web, made.url, told[2], told[3], told[1])
    assert (answer.status, answer.json["content_type"]) == (200, "audio/wav")
    assert answer.json["sha256"] == hashlib.sha256(whole).hexdigest()
    assert complete(web, made.url, told[2], told[3], told[1]).json == answer.json
    assert not default_storage.exists(f"parts/{made.file.public_id}/1")


def test_parts_may_lie_below_the_file_s_own_address(web: Client, ada: Person) -> None:
    made = initiate(ada)
    below = f"{urlsplit(made.file.url).path}/multipart/{made.ticket}"
    part = web.call("PUT", f"{below}/1", PICTURE)
    assert part.status == 200
    told = {"parts": [{"partNumber": 1, "etag": part.headers["etag"]}]}
    assert web.call("POST", f"{below}/complete", told).json["state"] == "ready"


def test_a_missing_or_changed_part_is_named(web: Client, ada: Person) -> None:
    made = initiate(ada)
    part = put(web, made.url, PICTURE, "/1").json
    wrong = [
        [part | {"etag": '"0"'}],
        [part, {"partNumber": 2, "etag": '"0"'}],
        [part | {"partNumber": 2}],
        [],
        [{"partNumber": "1", "etag": part["etag"]}],
    ]
    said = [complete(web, made.url, *parts) for parts in wrong]
    assert {(answer.status, answer.error["param"]) for answer in said} == {(422, "parts")}
    assert complete(web, made.url, part).status == 200


def test_a_body_beyond_what_the_ticket_says_is_refused(
    web: Client, ada: Person, settings: Settings
) -> None:
    settings.FILE_BYTES = 2_000_000
    made = initiate(ada)
    assert put(web, made.url, b"x" * 2_000_001).status == 413
    assert put(web, made.url, b"x" * 1_500_000, "/1").status == 200
    assert put(web, made.url, b"x" * 600_000, "/2").status == 413
    assert File.objects.get().ready_at is None


def test_a_page_of_another_site_may_put(web: Client, ada: Person) -> None:
    made = initiate(ada)
    asked = web.call("OPTIONS", here(made.url))
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, "*")
    assert put(web, made.url, PICTURE).headers["access-control-expose-headers"] == "ETag"


def test_equal_bytes_of_a_team_are_kept_once_and_those_of_two_teams_twice(
    web: Client, ada: Person, cy: Person
) -> None:
    made = [initiate(ada), initiate(ada), initiate(cy)]
    for one in made:
        assert put(web, one.url, PICTURE).status == 200
    paths = [File.objects.get(id=one.file.id).path for one in made]
    assert paths[0] == paths[1] != paths[2]
    assert default_storage.exists(paths[0])
    assert not default_storage.exists(
        paths[0].replace(made[0].file.public_id, made[1].file.public_id)
    )


def test_a_team_s_files_together_are_bounded(web: Client, ada: Person, settings: Settings) -> None:
    settings.TEAM_FILE_BYTES = len(PICTURE) + 10
    assert put(web, initiate(ada).url, PICTURE).status == 200
    assert put(web, initiate(ada).url, PICTURE).status == 200  # no more bytes than before
    answer = put(web, initiate(ada).url, samples.picture(shade=3))
    assert (answer.status, answer.error["code"]) == (413, "too_large")
