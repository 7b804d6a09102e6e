"""The device as threads share it, with a real child process that draws words."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from itertools import count

import pytest

from inference import device as devices
from inference.device import Device
from inference.process import ChildDied, Process
from inference.session import Unwanted
from inference.wire import Job

# What is to be drawn says how: `slow` until it is called off, `deaf` for ever, `dies`, or at once.
CHILD = """
import json, sys
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
def say(lane, **message):
    pipe.send_bytes(json.dumps({"lane": lane} | message).encode())
def drawn(lane, error, *files):
    lengths = [len(file) for file in files]
    say(lane, drawn={"content_type": "image/png", "lengths": lengths, "error": error})
    for file in files:
        pipe.send_bytes(file)
say(0, ready=["glyph"], runs=1)
while True:
    message = json.loads(pipe.recv_bytes())
    lane = message["lane"]
    if "load" in message:
        known = message["load"]["target"] == "glyph"
        say(lane, loaded="glyph" if known else "", resident=["glyph"])
    elif "cancel" in message:
        drawn(lane, {"code": "cancelled", "message": "called off", "retry": False})
    elif (how := message["draw"]["inputs"]["prompt"]) == "dies":
        sys.exit(1)
    elif how == "deaf":
        pipe.recv_bytes(); pipe.recv_bytes()
    elif how != "slow":
        drawn(lane, None, how.encode(), b"more")
"""


def yes() -> bool:
    return True


def no() -> bool:
    return False


def wish(words: str) -> Job:
    return Job("run_a", 1, "kinora/glyph@1", "glyph", {"prompt": words})


@pytest.fixture
def deaths() -> list[str]:
    return []


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, deaths: list[str]) -> Iterator[Device]:
    """With one place and a child that is ready."""
    monkeypatch.setattr(devices, "PING_SECONDS", 0.05)
    monkeypatch.setattr(devices, "UNWANTED_SECONDS", 0.3)
    device = Device(lambda: deaths.append("died"))
    device.child = Process((sys.executable, "-c", CHILD), "", "")
    assert device.child.first.receive(20)
    yield device
    device.forget(device.child)


def test_a_model_is_loaded_and_frames_are_drawn_with_their_files(
    device: Device, deaths: list[str]
) -> None:
    device.load("glyph", yes)
    for number, words in ((1, "tomato"), (2, "red heart")):
        frame, files = device.draw(wish(words), number, yes)
        assert (frame.number, frame.content_type, frame.error) == (number, "image/png", None)
        assert (frame.lengths, files) == ((len(words), 4), [words.encode(), b"more"])
        assert frame.seconds > 0
    assert deaths == []


def test_a_model_that_the_child_cannot_load_is_no_session(
    device: Device, deaths: list[str]
) -> None:
    with pytest.raises(ChildDied):
        device.load("absent", yes)
    assert device.draw(wish("tomato"), 1, yes)  # its place is free again


def test_a_frame_that_nobody_wants_any_more_is_called_off(device: Device) -> None:
    asked = count()
    frame, files = device.draw(wish("slow"), 1, lambda: next(asked) < 2)
    assert frame.error
    assert (frame.error.code, files) == ("cancelled", [])
    assert next(asked) == 3  # and nobody is asked again


def test_a_child_that_does_not_let_go_is_killed(device: Device, deaths: list[str]) -> None:
    with pytest.raises(ChildDied):
        device.draw(wish("deaf"), 1, no)
    assert device.child
    assert device.child.process.wait(10) == -signal.SIGKILL
    assert deaths == ["died"]


@pytest.mark.parametrize("how", ["dies", "is killed"])
def test_a_child_that_dies_while_it_draws_is_told_of_once(
    device: Device, deaths: list[str], how: str
) -> None:
    def still() -> bool:
        assert device.child
        os.kill(device.child.process.pid, signal.SIGKILL)
        return True

    with pytest.raises(ChildDied):
        device.draw(wish("dies" if how == "dies" else "slow"), 1, still)
    assert deaths == ["died"]
    with pytest.raises(ChildDied):  # and who comes next finds it dead, without waiting
        device.draw(wish("tomato"), 2, yes)
    assert deaths == ["died", "died"]


def test_where_no_child_is_the_runner_is_told(deaths: list[str]) -> None:
    device = Device(lambda: deaths.append("died"))
    for _ in range(2):
        with pytest.raises(ChildDied):
            device.load("glyph", yes)
    assert deaths == ["died", "died"]


def test_who_waits_for_a_place_says_so_and_may_give_up(device: Device, deaths: list[str]) -> None:
    assert device.places.take(1)
    asked = count()
    with pytest.raises(Unwanted):
        device.draw(wish("tomato"), 1, lambda: next(asked) < 3)
    assert next(asked) == 4
    device.places.give()
    assert device.draw(wish("tomato"), 1, yes)[1] == [b"tomato", b"more"]
    assert deaths == []
