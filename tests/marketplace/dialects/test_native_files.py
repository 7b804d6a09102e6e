"""Files over the native API: sent raw or in a form, read, listed, deleted, kept from others."""

import hashlib
from datetime import datetime
from typing import Any

import pytest
from pytest_django import Settings

from marketplace import ids
from marketplace.media.models import File
from tests.conftest import Person
from tests.marketplace.media import samples
from tests.marketplace.web import Answer, Client

PICTURE = samples.picture()
LINE = b"--line"


def send(web: Client, person: Person, content: bytes, query: str = "", **headers: str) -> Answer:
    named = {"Content-Type": "application/octet-stream"} | headers
    return web.call("POST", f"/api/v1/files{query}", content, key=person.text, headers=named)


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """name, file name (empty for a field), content."""
    said = b""
    for name, file_name, content in parts:
        end = f'; filename="{file_name}"\r\nContent-Type: image/png' if file_name else ""
        head = f'Content-Disposition: form-data; name="{name}"{end}\r\n\r\n'
        said += LINE + b"\r\n" + head.encode() + content + b"\r\n"
    return said + LINE + b"--\r\n"


def send_form(web: Client, person: Person, *parts: tuple[str, str, bytes]) -> Answer:
    kind = "multipart/form-data; boundary=line"
    return send(web, person, form(*parts), **{"Content-Type": kind})


def test_a_body_becomes_a_file_and_its_content_says_what_it_is(web: Client, ada: Person) -> None:
    answer = send(web, ada, PICTURE, "?name=cat.html", **{"Content-Type": "text/html"})
    assert answer.status == 201
    told = answer.json
    assert told["id"].startswith("file_")
    assert (told["state"], told["name"], told["kind"]) == ("ready", "cat.html", "image")
    assert (told["content_type"], told["bytes"]) == ("image/png", len(PICTURE))
    assert told["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (told["width"], told["height"], told["frames"], told["seconds"]) == (40, 30, None, None)
    assert web.get(f"/api/v1/files/{told['id']}", key=ada.text).json == told


@pytest.mark.parametrize(
    ("content", "kind", "content_type"),
    [
        (samples.picture("JPEG"), "image", "image/jpeg"),
        (samples.picture("WEBP"), "image", "image/webp"),
        (samples.animation(), "image", "image/gif"),
        (samples.short_clip(sound=True), "video", "video/mp4"),
        (b"".join(samples.wav(1)), "audio", "audio/wav"),
    ],
    ids=["jpeg", "webp", "gif", "mp4", "wav"],
)
def test_pictures_films_and_sounds_are_welcome(
    web: Client, ada: Person, content: bytes, kind: str, content_type: str
) -> None:
    told = send(web, ada, content).json
    assert (told["kind"], told["content_type"]) == (kind, content_type)


HOSTILE = {
    "nothing": b"",
    "a page": b"<html><script>alert(1)</script></html>",
    "a page before a picture": b"<html>" + PICTURE,
    "a drawing that reads files": b"<svg><image href='file:///etc/passwd'/></svg>",
    "a cut picture": samples.picture(size=(400, 300))[:200],
    "a cut film": samples.short_clip()[:600],
    "a bomb of pixels": samples.bomb(),
    "a bomb of frames": samples.many_frames(),
    "a playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a playlist called a film": b"\0\0\0\x18ftypmp42#EXTM3U\nfile:///etc/passwd\n",
    "a program": b"\x7fELF" + bytes(200),
    "an archive": b"PK\x03\x04" + bytes(200),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_usable_medium_is_refused_and_leaves_nothing(
    web: Client, ada: Person, name: str
) -> None:
    answer = send(web, ada, HOSTILE[name], **{"Content-Type": "image/png"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (
        422, "invalid_input", "file",
    )  # fmt: skip
    assert "image/png" in answer.error["message"]
    assert "/" not in answer.error["message"].partition("Send ")[0]
    assert not File.objects.exists()


def test_a_picture_with_a_page_behind_it_is_served_as_a_picture_alone(
    web: Client, ada: Person
) -> None:
    told = send(web, ada, PICTURE + b"<script>alert(1)</script>", "?name=a.html").json
    read = web.get(told["url"].partition("/media")[1] + told["url"].partition("/media")[2])
    assert (read.status, read.headers["content-type"]) == (200, "image/png")
    assert read.headers["x-content-type-options"] == "nosniff"
    assert read.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert ".html" not in read.headers["content-disposition"]


def test_a_form_brings_a_file_and_its_name(web: Client, ada: Person) -> None:
    answer = send_form(web, ada, ("expires_in", "", b"60"), ("file", "../a/cat.png", PICTURE))
    assert answer.status == 201
    told = answer.json
    assert (told["name"], told["sha256"]) == ("cat.png", hashlib.sha256(PICTURE).hexdigest())
    life = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["created_at"])
    assert life.total_seconds() == 60


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([("name", "", b"cat")], "invalid_input"),
        ([("a", "a.png", PICTURE), ("b", "b.png", PICTURE)], "invalid_input"),
        ([(f"f{n}", "a.png", b"x") for n in range(21)], "malformed_body"),
        ([(f"f{n}", "", b"x") for n in range(1001)], "malformed_body"),
        ([("name", "", b"x" * 1_000_001), ("file", "a.png", PICTURE)], "too_large"),
        ([("expires_in", "", b"-1"), ("file", "a.png", PICTURE)], "invalid_input"),
    ],
    ids=["no file", "two files", "many files", "many fields", "a large field", "a wrong clock"],
)
def test_a_wrong_form_is_refused(web: Client, ada: Person, parts: list[Any], code: str) -> None:
    assert send_form(web, ada, *parts).error["code"] == code
    assert not File.objects.exists()


def test_a_form_without_its_line_is_refused(web: Client, ada: Person) -> None:
    kind = "multipart/form-data"
    answer = send(web, ada, form(("file", "a.png", PICTURE)), **{"Content-Type": kind})
    assert (answer.status, answer.error["code"]) == (400, "malformed_body")
    assert not File.objects.exists()


def test_a_file_that_is_too_large_is_refused(web: Client, ada: Person, settings: Settings) -> None:
    settings.FILE_BYTES = 1000
    for answer in (send(web, ada, bytes(1001)), send_form(web, ada, ("f", "a.png", bytes(1001)))):
        assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert not File.objects.exists()


def test_files_are_listed_newest_first_a_page_at_a_time(
    web: Client, ada: Person, cy: Person
) -> None:
    made = [send(web, ada, samples.picture(shade=n)).json["id"] for n in range(5)]
    send(web, cy, PICTURE)
    first = web.get("/api/v1/files?limit=3", key=ada.text).json
    assert [file["id"] for file in first["data"]] == made[:1:-1]
    rest = web.get(f"/api/v1/files?limit=3&cursor={first['next_cursor']}", key=ada.text).json
    assert [file["id"] for file in rest["data"]] == made[1::-1]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "cursor=run_1", "cursor="])
def test_a_wrong_page_is_refused(web: Client, ada: Person, query: str) -> None:
    answer = web.get(f"/api/v1/files?{query}", key=ada.text)
    assert (answer.status, answer.error["code"]) == (422, "invalid_input")


def test_a_deleted_file_is_gone_at_once(web: Client, ada: Person) -> None:
    told = send(web, ada, PICTURE).json
    here = f"/api/v1/files/{told['id']}"
    gone = web.call("DELETE", here, key=ada.text)
    assert (gone.status, gone.json) == (200, {"id": told["id"], "deleted": True})
    assert web.get(here, key=ada.text).status == 404
    assert web.get("/media" + told["url"].partition("/media")[2]).status == 404
    assert web.call("DELETE", here, key=ada.text).status == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_another_team_s_file_is_like_one_that_never_was(
    web: Client, ada: Person, cy: Person, method: str
) -> None:
    told = send(web, ada, PICTURE).json
    answers = [
        web.call(method, f"/api/v1/files/{name}", key=cy.text)
        for name in (told["id"], ids.public("file", ids.uuid7()), "file_none", "run_1")
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    assert web.get(f"/api/v1/files/{told['id']}", key=ada.text).status == 200


def test_a_key_without_the_scope_or_none_sends_nothing(
    web: Client, ada: Person, ben: Person
) -> None:
    assert send(web, ben, PICTURE).status == 403
    assert web.call("POST", "/api/v1/files", PICTURE).status == 401
    assert web.get("/api/v1/files", key=ben.text).json["data"] == []


def test_a_large_file_is_announced_and_put(web: Client, ada: Person) -> None:
    wish = {"name": "rain.wav", "content_type": "audio/wav", "expires_in": 600}
    answer = web.call("POST", "/api/v1/uploads", wish, key=ada.text)
    assert (answer.status, answer.json["file"]["state"]) == (201, "waiting")
    url = "/media" + answer.json["upload"]["url"].partition("/media")[2]
    assert web.call("PUT", url, PICTURE).status == 200
    told = web.get(f"/api/v1/files/{answer.json['file']['id']}", key=ada.text).json
    assert (told["state"], told["content_type"], told["name"]) == (
        "ready", "image/png", "rain.wav",
    )  # fmt: skip


@pytest.mark.parametrize("wish", [{"size": 3}, {"expires_in": 0}, {"expires_in": "soon"}])
def test_a_wrong_announcement_is_refused(web: Client, ada: Person, wish: dict[str, Any]) -> None:
    answer = web.call("POST", "/api/v1/uploads", wish, key=ada.text)
    assert (answer.status, answer.error["param"]) == (422, next(iter(wish)))
