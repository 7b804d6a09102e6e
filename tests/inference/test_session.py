"""A session on a worker: prompts are drawn in turn, and whatever ends it is told to somebody."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from inference import session as sessions
from inference.control import Control
from inference.process import ChildDied
from inference.session import Files, Session, Still, Unwanted
from inference.wire import Frame, Job
from tests.inference.keeper import GOES_ON, OVER, Keeper, prompt, said

PICTURE = b"\x89PNG a picture"


class Hand:
    """Draws at once what it is asked for. fault: raised instead; asks: whether it goes on."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.drawn: list[tuple[str, int, int]] = []
        self.fault: Exception | None = None
        self.asks = 0
        self.told: list[bool] = []

    def load(self, slug: str, still: Still) -> None:
        self.loaded.append(slug)
        self.ask(still)

    def draw(self, job: Job, number: int, still: Still) -> tuple[Frame, Files]:
        self.drawn.append((job.inputs["prompt"], number, job.attempt))
        self.ask(still)
        if self.fault:
            raise self.fault
        return Frame(number, 0.01, "image/png", (len(PICTURE),)), [PICTURE]

    def ask(self, still: Still) -> None:
        self.told += [still() for _ in range(self.asks)]


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    monkeypatch.setattr(sessions, "AWAY_SECONDS", 0.2)
    monkeypatch.setattr(sessions, "TELL_SECONDS", 0.2)
    with Keeper() as keeper:
        yield keeper
        keeper.shutdown()


def served(
    keeper: Keeper, hand: Hand, *, door: str = "fleet/v1/session", stop: Event | None = None
) -> Session:
    """A session of attempt 2 of `run_a`, once its thread has ended."""
    job = Job("run_a", 2, "kinora/glyph@1", "glyph", {"size": 64}, session=door)
    session = Session(Control(keeper.url, "secret"), job, hand, stop or Event())
    session.start()
    session.join(20)
    assert not session.is_alive()
    return session


def test_prompts_are_drawn_in_turn_until_the_door_says_that_it_is_over(keeper: Keeper) -> None:
    hand = Hand()
    keeper.answers = [said(prompt(1, "tomato")), said(GOES_ON), said(prompt(2, "star")), said(OVER)]
    session = served(keeper, hand)
    assert hand.loaded == ["glyph"]
    assert hand.drawn == [("tomato", 1, 2), ("star", 2, 2)]
    assert keeper.kinds() == ["ready", "frame", "ready", "frame"]
    frames = [(word["frame"]["number"], files) for word, files in keeper.words if word["frame"]]
    assert frames == [(1, PICTURE), (2, PICTURE)]
    seconds = [word["seconds"] for word, _ in keeper.words]
    assert seconds == sorted(seconds)
    assert keeper.told["complete"] == []
    assert session.door.link is None


def test_while_a_frame_is_drawn_the_door_hears_that_we_are_at_it(keeper: Keeper) -> None:
    hand = Hand()
    hand.asks = 2
    answers = [said(prompt(1, "tomato")), said(GOES_ON), said(OVER)]
    keeper.answers = answers
    hand.fault = Unwanted()  # as an artist raises that was told so
    served(keeper, hand)
    assert keeper.kinds()[:3] == ["ready", "busy", "busy"]
    assert hand.told == [True, True, True, False]  # twice while loading
    assert len(keeper.told["renew"]) == 2
    assert keeper.told["complete"] == []


def test_a_session_that_is_cancelled_while_it_loads_is_not_wanted(keeper: Keeper) -> None:
    hand = Hand()
    hand.asks, keeper.cancel, keeper.answers = 1, True, [said(OVER)]
    served(keeper, hand)
    assert hand.told == [False]


@pytest.mark.parametrize("fault", [ChildDied(), Unwanted(), RuntimeError("broken")])
def test_whatever_breaks_it_is_told_at_the_door(keeper: Keeper, fault: Exception) -> None:
    hand = Hand()
    hand.fault = fault
    keeper.answers = [said(prompt(1, "tomato")), said(GOES_ON)]
    served(keeper, hand)
    assert keeper.kinds() == ["ready", "leaving"]
    assert keeper.told["complete"] == []


def test_where_nobody_is_at_the_door_the_control_plane_is_told(keeper: Keeper) -> None:
    served(keeper, Hand(), door="http://127.0.0.1:9/fleet/v1/session")
    [end] = keeper.told["complete"]
    assert (end["run"], end["attempt"], end["state"]) == ("run_a", 2, "lost")
    assert end["error"]["code"] == "worker_lost"


def test_a_door_that_knows_no_such_session_is_told_of_to_the_control_plane(keeper: Keeper) -> None:
    keeper.answers = [(404, b"{}")]
    served(keeper, Hand())
    assert [end["state"] for end in keeper.told["complete"]] == ["lost"]


def test_an_attempt_that_is_no_longer_ours_is_not_spoken_of(keeper: Keeper) -> None:
    hand = Hand()
    keeper.answers = [(409, b"{}")]
    served(keeper, hand)
    assert (hand.drawn, keeper.told["complete"]) == ([], [])


def test_a_worker_that_stops_leaves(keeper: Keeper) -> None:
    stop = Event()
    stop.set()
    served(keeper, Hand(), stop=stop)
    assert keeper.kinds() == ["ready", "leaving"]
