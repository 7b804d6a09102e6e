"""Bodies that are too large are refused before Django writes them to disk."""

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from marketplace.limits import Bounded
from marketplace.media import sign
from tests.marketplace.web import Client

NAME = "attempts/run_1/1/0.png"


def announced(web: Client, method: str, url: str, length: int) -> int:
    """The status of a request that says how long its body is and then sends nothing of it."""
    parts = urlsplit(url)
    head = f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as link:
        link.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        return int(link.recv(4096).split()[1])


def test_a_long_body_is_refused_by_its_announcement(web: Client) -> None:
    signed = sign.upload_url(NAME, content_type="image/png", most=5000)
    forged = signed.replace("most=5000", "most=9000000")
    for url, length in ((f"/media/{NAME}", 1_000_001), (signed, 5_001), (forged, 1_000_001)):
        assert announced(web, "PUT", url, length) == 413
    assert announced(web, "POST", "/fleet/v1/claim", 1_000_001) == 413


@pytest.mark.parametrize(("pieces", "statuses"), [(10, [200]), (11, [413])])
def test_a_body_without_a_length_is_counted_while_it_arrives(
    pieces: int, statuses: list[int]
) -> None:
    told: list[int] = []

    async def application(_: Any, receive: Any, send: Any) -> None:
        """Reads as Django does, which takes a disconnect for the end of the conversation."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if not message["more_body"]:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                return

    async def go() -> None:
        left = iter(range(pieces))

        async def receive() -> Any:
            more = next(left) < pieces - 1
            return {"type": "http.request", "body": b"x" * 100_000, "more_body": more}

        async def send(message: Any) -> None:
            told.extend([message["status"]] if "status" in message else [])

        scope = {"path": "/accounts/login/", "method": "POST", "headers": []}
        await Bounded(application)(scope, receive, send)

    asyncio.run(go())
    assert told == statuses
