"""Signed addresses over HTTP: what they open, and that they open nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.core.files.storage import default_storage
from pytest_django import Settings

from marketplace import ids
from marketplace.media import sign, store
from partners import drawing
from tests.marketplace.web import Answer, Client

PICTURE = drawing.thumbnail("dusk", 0, 0)
OTHER = drawing.thumbnail("dawn", 0, 0)


@dataclass(frozen=True)
class Output:
    path: str
    expires_at: datetime = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def name() -> str:
    """Where an output of a fresh attempt goes."""
    return store.attempt_path(ids.public("run", ids.uuid7()), 1, 0, "image/png")


@pytest.fixture
def kept(name: str) -> str:
    with store.Incoming() as file:
        file.write(PICTURE)
        file.keep(name)
    return name


def here(url: str) -> str:
    """Path and query of an address."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def address(path: str) -> str:
    return here(sign.download_url(Output(path))[0])


def get(web: Client, url: str, **headers: str) -> Answer:
    return web.call("GET", url, headers=headers)


def put(web: Client, url: str, content: bytes, content_type: str = "image/png") -> Answer:
    return web.call("PUT", url, content, headers={"Content-Type": content_type})


def test_an_output_is_served_as_what_it_is_and_to_be_kept_private(web: Client, kept: str) -> None:
    answer = get(web, address(kept))
    assert (answer.status, answer.body) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["cache-control"].startswith("private")
    saved_as = f"kinora-{kept.split('/')[1]}-0.png"
    assert answer.headers["content-disposition"] == f'inline; filename="{saved_as}"'


def test_a_head_tells_the_length_and_sends_nothing(web: Client, kept: str) -> None:
    answer = web.call("HEAD", address(kept))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(PICTURE))


@pytest.mark.parametrize(
    ("asked", "status", "said", "body"),
    [
        ("bytes=0-9", 206, f"bytes 0-9/{len(PICTURE)}", PICTURE[:10]),
        ("bytes=10-", 206, f"bytes 10-{len(PICTURE) - 1}/{len(PICTURE)}", PICTURE[10:]),
        (
            "bytes=-5", 206, f"bytes {len(PICTURE) - 5}-{len(PICTURE) - 1}/{len(PICTURE)}",
            PICTURE[-5:],
        ),
        ("bytes=0-999999", 206, f"bytes 0-{len(PICTURE) - 1}/{len(PICTURE)}", PICTURE),
        ("bytes=999999-", 416, f"bytes */{len(PICTURE)}", b""),
        ("lines=1-2", 200, None, PICTURE),
    ],
)  # fmt: skip
def test_a_player_gets_the_range_it_asks_for(
    web: Client, kept: str, asked: str, status: int, said: str | None, body: bytes
) -> None:
    answer = get(web, address(kept), Range=asked)
    assert (answer.status, answer.headers.get("content-range")) == (status, said)
    assert answer.body == body


def test_an_address_opens_one_file_for_one_method_until_it_expires(
    web: Client, kept: str, settings: Settings
) -> None:
    right = address(kept)
    other = store.attempt_path("run_other", 1, 0, "image/png")
    query = right.partition("?")[2]
    settings.SIGNED_URL_SECONDS = -1000
    wrong = [
        f"/media/{kept}",
        f"/media/{other}?{query}",
        right + "0",
        right.replace("expires=1", "expires=2"),
        right + "&most=5",
        address(kept),
    ]
    assert {get(web, url).status for url in wrong} == {403}
    assert put(web, right, OTHER).status == 403
    assert get(web, right).body == PICTURE


@pytest.mark.parametrize("path", ["../secrets/kinora_secret_key", "..%2Fsecrets", "/etc/passwd"])
def test_an_address_cannot_leave_the_media_folder(web: Client, path: str) -> None:
    until = int((datetime.now(UTC) + timedelta(hours=1)).timestamp())
    answer = get(web, sign.address("GET", path, until))
    assert answer.status in {403, 404}
    assert b"tests" not in answer.body


def test_an_address_expires_with_its_output() -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    assert sign.download_url(Output("x.png", soon))[1] == soon


def test_an_output_is_put_once_and_the_same_bytes_again_are_fine(web: Client, name: str) -> None:
    url = sign.upload_url(name, content_type="image/png", most=5000)
    assert [put(web, url, PICTURE).status for _ in range(2)] == [201, 201]
    answer = put(web, url, OTHER)
    assert (answer.status, answer.error["code"]) == (409, "conflict")
    with store.local(name) as file:
        assert file.read_bytes() == PICTURE


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [(b"x" * 5001, "image/png", 413), (PICTURE, "text/html", 422)],
)
def test_what_does_not_fit_the_address_is_not_kept(
    web: Client, name: str, content: bytes, content_type: str, status: int
) -> None:
    url = sign.upload_url(name, content_type="image/png", most=5000)
    assert put(web, url, content, content_type).status == status
    assert put(web, url.replace("most=5000", "most=9999"), PICTURE).status == 403
    assert not default_storage.exists(name)


def test_a_file_that_is_gone_is_not_found(web: Client, name: str) -> None:
    assert get(web, address(name)).status == 404


def test_nothing_is_left_of_what_was_not_kept() -> None:
    with store.Incoming() as file:
        file.write(b"half a pict")
        path = file.finish()
    assert not path.exists()
