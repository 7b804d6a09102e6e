"""What a connection tells of an answer: whose run the next equal request gets."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from marketplace.runs.models import Run
from tests.conftest import Person
from tests.journeys.clients.cutter import deafen, message, reset
from tests.marketplace.web import Client, serving

BODY = json.dumps({"prompt": "red heart"}).encode()
AGAIN = {"X-Stainless-Retry-Count": "1"}
RELAYED = {"X-Forwarded-For": "192.0.2.1"}
Leave = Callable[[socket.socket], Any]

pytestmark = pytest.mark.usefixtures("still")


class Caller:
    """Asks fal's queue for the same picture, on connections that the test ends itself."""

    def __init__(self, web: Client, person: Person) -> None:
        self.web, self.key = web, person.text

    def link(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.web.port), timeout=10)

    def send(self, link: socket.socket, **headers: str) -> None:
        said = {"Authorization": f"Key {self.key}", "Content-Length": str(len(BODY)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        head = f"POST /fal/queue/rehearsal/still HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
        link.sendall(head.encode() + BODY)

    def run(self, link: socket.socket, **headers: str) -> str:
        self.send(link, **headers)
        found: str = json.loads(message(link)[1])["request_id"]
        return found

    def again(self, **headers: str) -> str:
        """The run of an equal request on a new connection, which stays open."""
        with self.link() as link:
            return self.run(link, **headers)

    def left(self, leave: Leave, **headers: str) -> None:
        """Ask, and leave once the answer is there, unread."""
        link = self.link()
        self.send(link, **headers)
        link.recv(1, socket.MSG_PEEK)
        leave(link)
        time.sleep(0.05)  # that our server's kernel has heard of it


@pytest.fixture
def ask(web: Client, ada: Person) -> Caller:
    return Caller(web, ada)


def broken(link: socket.socket) -> None:
    """Leave with the answer unread: the kernel resets the connection."""
    link.close()


def polite(link: socket.socket) -> None:
    message(link)
    link.close()


def halfway(link: socket.socket) -> None:
    link.recv(60)
    reset(link)


def runs() -> int:
    return Run.objects.count()


def test_an_answer_that_nobody_read_goes_to_the_next_equal_request_once(ask: Caller) -> None:
    ask.left(broken)
    first = ask.again()
    assert runs() == 1
    assert ask.again() != first
    assert runs() == 2


def test_of_an_answer_cut_off_in_its_middle_too(ask: Caller) -> None:
    ask.left(halfway)
    ask.again()
    assert runs() == 1


def test_who_read_the_answer_and_hung_up_asks_anew(ask: Caller) -> None:
    for _ in range(3):
        ask.left(polite)
    assert runs() == 3


def test_who_went_on_talking_had_the_answer(ask: Caller) -> None:
    link = ask.link()
    first, second = ask.run(link), ask.run(link)
    ask.send(link)
    link.recv(1, socket.MSG_PEEK)
    link.close()
    time.sleep(0.05)
    assert ask.again() not in (first, second)
    assert runs() == 3


def test_an_answer_that_is_never_acknowledged_is_lost(ask: Caller) -> None:
    link = ask.link()
    deafen(link)
    ask.send(link)
    time.sleep(1.2)  # our kernel has sent it twice more
    ask.again()
    assert runs() == 1
    link.close()


def test_a_proxy_that_breaks_its_connections_says_nothing_of_its_clients(ask: Caller) -> None:
    ask.left(broken, **RELAYED)
    ask.again(**RELAYED)
    assert runs() == 2


@pytest.mark.parametrize("leave", [broken, polite])
def test_a_client_that_says_that_it_tries_again_gets_its_first_run(
    ask: Caller, leave: Leave
) -> None:
    ask.left(leave)
    ask.again(**AGAIN)
    assert runs() == 1


def test_also_through_a_proxy_that_keeps_its_connections(ask: Caller) -> None:
    with ask.link() as link:
        first = ask.run(link, **RELAYED)
        assert ask.run(link, **RELAYED) != first
        assert ask.run(link, **RELAYED, **AGAIN) == first
    assert runs() == 2


def test_but_not_the_run_of_another_who_is_still_there(ask: Caller) -> None:
    with ask.link() as other:
        ask.run(other)
        ask.again(**AGAIN)
    assert runs() == 2


def test_nor_where_its_first_try_was_refused(
    settings: Any, ada: Person, transactional_db: None
) -> None:
    """Two ask for the same; one is told to come back, and comes back for a run of its own."""
    settings.RATES = settings.RATES | {"write": (5, 1)}
    first, relayed = {"X-Stainless-Retry-Count": "0"}, RELAYED
    with serving() as web:
        ask = Caller(web, ada)
        ask.again(**first, **relayed)
        with ask.link() as link:
            ask.send(link, **first, **relayed)
            assert message(link)[0].split()[1] == b"429"
        time.sleep(0.3)
        ask.again(**AGAIN, **relayed)
        assert runs() == 2
        time.sleep(0.3)
        ask.again(**AGAIN, **relayed)
    assert runs() == 2
