"""Hosts that stand for a dialect's addresses."""

import pytest

from marketplace.hot.hosts import aimed, known
from tests.marketplace.web import Client


@pytest.mark.parametrize(
    ("host", "path", "meant"),
    [
        ("fal.run", "/kinora/glyph", "/fal/run/kinora/glyph"),
        ("Queue.fal.run:443", "/kinora/glyph", "/fal/queue/kinora/glyph"),
        ("v3.fal.media", "/files/upload", "/fal/cdn/files/upload"),
        ("api.replicate.com", "/v1/models", "/replicate/v1/models"),
        ("127.0.0.1:8000", "/v1/models", "/v1/models"),
        ("run.elsewhere.example", "/kinora/glyph", "/kinora/glyph"),
        ("", "/v1/models", "/v1/models"),
    ],
)
def test_a_host_says_what_stands_before_a_path(host: str, path: str, meant: str) -> None:
    assert aimed({"path": path, "headers": [(b"host", host.encode())]})["path"] == meant


def test_our_own_name_has_hosts_too() -> None:
    names = known("kinora.example")
    assert names[b"run.kinora.example"] == "/fal/run"
    assert names[b"queue.run.kinora.example"] == "/fal/queue"
    assert b"kinora.example" not in names


def test_an_address_of_such_a_host_asks_for_a_key_like_any(web: Client) -> None:
    there = web.call("POST", "/rehearsal/still", {}, headers={"Host": "fal.run"})
    here = web.call("POST", "/fal/run/rehearsal/still", {})
    assert (there.status, there.body) == (here.status, here.body)
    assert there.status == 401
