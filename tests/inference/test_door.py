"""The line to a session's door: words and files go, answers come, connections last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inference.control import Control, FenceLost, Refused, Unreachable
from inference.door import Door
from inference.wire import Failure, Frame, Prompt, Said, Word
from tests.inference.keeper import GOES_ON, OVER, Keeper, prompt, said

DOOR = "fleet/v1/session"
WORD = Word("run_a", 3, 1.5)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with Keeper() as keeper:
        yield keeper
        keeper.shutdown()


@pytest.fixture
def door(keeper: Keeper) -> Iterator[Door]:
    door = Door(Control(keeper.url, "secret"), DOOR)
    yield door
    door.close()


def test_a_word_brings_its_files_and_comes_back_with_a_prompt(keeper: Keeper, door: Door) -> None:
    keeper.answers = [said(prompt(4, "tomato"))]
    frame = Frame(3, 0.2, "image/png", (2, 3))
    told = door.say(Word("run_a", 3, 1.5, frame=frame), [b"ab", b"\ncd"])
    assert told == Said("", Prompt(4, {"prompt": "tomato"}))
    [(word, files)] = keeper.words
    assert (word["run"], word["attempt"], word["seconds"]) == ("run_a", 3, 1.5)
    assert (word["frame"]["lengths"], files) == ([2, 3], b"ab\ncd")
    assert keeper.tokens == {"Bearer secret"}


def test_a_frame_may_be_why_there_is_none(keeper: Keeper, door: Door) -> None:
    fault = Failure("invalid_input", "steps must be at most 50.")
    door.say(Word("run_a", 3, 1.5, frame=Frame(3, 0.0, error=fault)))
    [(word, files)] = keeper.words
    assert (word["frame"]["error"]["message"], files) == ("steps must be at most 50.", b"")


def test_words_share_a_connection(keeper: Keeper, door: Door) -> None:
    keeper.answers = [said(GOES_ON), said(OVER)]
    assert [door.say(WORD).end for _ in range(3)] == ["", "ended", "ended"]
    assert len(set(keeper.callers)) == 1


def test_a_connection_that_was_closed_is_opened_anew(keeper: Keeper, door: Door) -> None:
    keeper.hangs_up = True
    for _ in range(3):
        assert door.say(WORD) == Said()
    assert len(keeper.words) == len(set(keeper.callers)) == 3


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (409, b"{}", FenceLost),
        (503, b"{}", Unreachable),
        (429, b"{}", Unreachable),
        (404, b"no such session", Refused),
        (302, b"", Refused),
        (200, b"<html>", Unreachable),
        (200, b"[]", Unreachable),
        (200, b'{"prompt": {"number": 1}}', Unreachable),
    ],
)
def test_answers_become_errors(
    keeper: Keeper, door: Door, status: int, body: bytes, fault: type[Exception]
) -> None:
    keeper.answers = [(status, body)]
    with pytest.raises(fault):
        door.say(WORD)


def test_nobody_at_the_door_is_unreachable_and_may_come_back(keeper: Keeper, door: Door) -> None:
    closed = Door(Control("http://127.0.0.1:9", "secret"), DOOR)
    with pytest.raises(Unreachable):
        closed.say(WORD)
    assert closed.link is None
    elsewhere = Door(Control("http://127.0.0.1:9", "secret"), f"{keeper.url}/{DOOR}")
    assert elsewhere.say(WORD) == Said()  # a door of its own, where several web processes are
    elsewhere.close()


def test_an_address_that_is_not_http_is_refused() -> None:
    with pytest.raises(Refused, match="not an HTTP address"):
        Door(Control("http://127.0.0.1:9", "secret"), "file:///etc/passwd").say(WORD)
