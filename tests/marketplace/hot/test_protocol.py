"""What a stranger may send: little before its key is known, and nothing that trickles."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from marketplace.accounts import keys
from marketplace.catalog.models import Release
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.journeys.clients.cutter import message
from tests.marketplace.web import Client, serving

RUNS = "/api/v1/runs"
LARGE = 15_000_000
OURS = ("/api/v1/runs", "/fal/run/a/b", "/fal/cdn/files/upload", "/v1/images/generations",
        "/v1/images/edits", "/replicate/v1/predictions", "/replicate/v1/files", "/api/v1/files",
        "/hf/models/a/b")  # fmt: skip


@contextmanager
def opened(
    web: Client, path: str = RUNS, *, key: str | None = None, **heads: str
) -> Iterator[socket.socket]:
    """A connection on which the head of a POST has been sent."""
    said = heads | ({"Authorization": f"Bearer {key}"} if key else {})
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as link:
        link.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        yield link


def status(link: socket.socket) -> int:
    return int(message(link)[0].split()[1])


def is_closed(link: socket.socket) -> bool:
    try:
        while link.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


# ── who are you ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", [None, "nonsense", "kin_live_0"])
@pytest.mark.parametrize("path", OURS)
def test_a_large_body_is_refused_before_it_comes(web: Client, path: str, key: str | None) -> None:
    for more in ({}, {"Expect": "100-continue"}):
        with opened(web, path, key=key, Content_Length=str(LARGE), **more) as link:
            assert status(link) == 401


def test_a_revoked_key_is_refused_before_the_body_comes(web: Client, ada: Person) -> None:
    keys.revoke(key=ada.key)
    with opened(web, key=ada.text, Content_Length=str(LARGE)) as link:
        assert status(link) == 401


def test_a_body_that_does_not_say_its_length_is_asked_for_its_key_in_time(web: Client) -> None:
    with opened(web, key="nonsense", Transfer_Encoding="chunked") as link:
        link.sendall(b"11170\r\n" + b" " * 70_000)  # the chunk is not even complete
        assert status(link) == 401


def test_what_still_comes_after_the_answer_is_taken_for_a_moment_only(
    web: Client, settings: Any
) -> None:
    """So a client that sends all it has before it listens gets its answer, and no more."""
    settings.TRICKLE_DRAINED = 1_000_000
    with opened(web, key="nonsense", Content_Length=str(LARGE)) as link:
        link.sendall(b" " * 500_000)
        assert status(link) == 401
        with pytest.raises(OSError, match=r"(?i)reset|pipe"):
            link.sendall(b" " * (LARGE - 500_000))


def test_a_key_that_holds_may_send_it(web: Client, ada: Person, still: Release) -> None:
    body = b'{"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}'.ljust(LARGE)
    assert web.call("POST", RUNS, body, key=ada.text).status == 201
    assert Run.objects.count() == 1


def test_who_waits_to_be_told_to_continue_is_told_once_the_key_is_known(
    web: Client, ada: Person, still: Release
) -> None:
    body = b'{"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}'.ljust(100_000)
    heads = {"Content_Length": str(len(body)), "Expect": "100-continue"}
    with opened(web, key=ada.text, **heads) as link:
        assert status(link) == 100
        link.sendall(body)
        assert status(link) == 201


# ── patience ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hasty(settings: Any, transactional_db: None) -> Iterator[Client]:
    """Gives up what brings less than a thousand bytes in half a second."""
    settings.TRICKLE_SECONDS, settings.TRICKLE_BYTES = 0.5, 1000
    with serving() as client:
        yield client


def trickle(link: socket.socket, data: bytes = b"x") -> None:
    """A byte now and then, until the other side has had enough."""
    link.settimeout(0.05)
    for _ in range(400):
        try:
            link.sendall(data)
            link.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        except OSError:
            break
        break
    link.settimeout(10)


@pytest.mark.parametrize(
    "path", [RUNS, "/api/v1/files", "/fal/cdn/files/upload", "/accounts/login/", "/fleet/v1/claim"]
)
def test_a_body_that_trickles_is_given_up(hasty: Client, ada: Person, path: str) -> None:
    with opened(hasty, path, key=ada.text, Content_Length="50000") as link:
        trickle(link)
        assert status(link) in (408, 415)
        assert is_closed(link)


def test_so_are_heads_and_connections_on_which_nobody_speaks(hasty: Client) -> None:
    heads: dict[str, Callable[[socket.socket], object]] = {
        "nothing at all": lambda _: None,
        "a head without an end": lambda link: link.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: "),
    }
    for begin in heads.values():
        with socket.create_connection(("127.0.0.1", hasty.port), timeout=10) as link:
            begin(link)
            if begin is not heads["nothing at all"]:
                trickle(link)
            assert is_closed(link)


def test_a_second_request_that_trickles_is_given_up_too(hasty: Client) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=10) as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(link) == 200
        link.sendall(b"GET /healthz HTTP/1.1\r\n")
        trickle(link, b"X")
        assert status(link) == 408


def test_trickling_strangers_keep_nobody_else_waiting(hasty: Client, ada: Person) -> None:
    links = [socket.create_connection(("127.0.0.1", hasty.port), timeout=10) for _ in range(200)]
    try:
        for link in links:
            link.sendall(b"POST /api/v1/runs HTTP/1.1\r\nContent-Length: 60000\r\n\r\n{")
        assert hasty.get("/healthz").status == 200
        assert all(is_closed(link) for link in links)
    finally:
        for link in links:
            link.close()


def test_a_body_that_comes_steadily_is_heard_to_its_end(
    hasty: Client, ada: Person, still: Release
) -> None:
    body = b'{"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}'.ljust(30_000)
    with opened(hasty, key=ada.text, Content_Length=str(len(body))) as link:
        for start in range(0, len(body), 2_000):
            link.sendall(body[start : start + 2_000])
            time.sleep(0.1)
        assert status(link) == 201


def test_who_waits_for_its_answer_is_not_given_up(
    hasty: Client, ada: Person, still: Release
) -> None:
    body = b'{"model": "rehearsal/still", "inputs": {"prompt": "red heart"}, "wait": 2}'
    found: list[int] = []
    with opened(hasty, key=ada.text, Content_Length=str(len(body))) as link:
        link.sendall(body)
        asking = threading.Thread(target=lambda: found.append(status(link)))
        asking.start()
        asking.join(20)
    assert found == [201]
