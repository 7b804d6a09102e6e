"""The child as this worker's threads share it: runs and frames of sessions take places on it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from inference.places import Places
from inference.process import ChildDied, Lane, Message, Process
from inference.session import PING_SECONDS, Files, Still, Unwanted
from inference.wire import Failure, Frame, Job

TICK_SECONDS = 0.05
UNWANTED_SECONDS = 10.0  # a frame that nobody wants any more may take this long to stop


class Device:
    """The places, and the child behind them while there is one.

    Whoever starts the child must outlive it, so only the runner does.
    """

    def __init__(self, died: Callable[[], None]) -> None:
        """Take whom to tell when the child is found dead."""
        self.places = Places()
        self.child: Process | None = None
        self.died = died

    def forget(self, child: Process | None) -> None:
        """Kill and reap a child; all that it was doing is lost."""
        if child is None:
            return
        child.kill()
        if self.child is child:
            self.child = None

    def load(self, slug: str, still: Still) -> None:
        """Have a model loaded before its session is counted.  Raises ChildDied."""
        with Turn(self, still) as lane:
            lane.send(load=Job("", 0, "", slug, {}).to_json())
            if self.answer(lane, "loaded", still)["loaded"] != slug:
                raise ChildDied

    def draw(self, job: Job, number: int, still: Still) -> tuple[Frame, Files]:
        """Draw one frame.  Raises ChildDied."""
        began = time.monotonic()
        with Turn(self, still) as lane:
            lane.send(draw=job.to_json())
            message = self.answer(lane, "drawn", still)
        told, seconds = message["drawn"], round(time.monotonic() - began, 6)
        error = Failure.from_json(told["error"]) if told["error"] else None
        frame = Frame(number, seconds, told["content_type"], tuple(told["lengths"]), error)
        return frame, message["files"]

    def answer(self, lane: Lane, word: str, still: Still) -> Message:
        """Wait for the child's answer; a frame that is not wanted any more is called off."""
        said, unwanted = time.monotonic(), 0.0
        while True:
            message = lane.receive(TICK_SECONDS) or {}
            if word in message:
                return message
            now = time.monotonic()
            if unwanted and now > unwanted:
                lane.child.process.send_signal(signal.SIGKILL)
                raise ChildDied
            if not unwanted and now - said > PING_SECONDS:
                said = now
                if not still():
                    unwanted = now + UNWANTED_SECONDS
                    lane.send(cancel=True)


class Turn:
    """A place on the device for one frame, once it is free; says that we wait for it meanwhile."""

    def __init__(self, device: Device, still: Still) -> None:
        """Take whose turn it is."""
        self.device, self.still = device, still
        self.lane: Lane | None = None

    def __enter__(self) -> Lane:
        """Wait for it.  Raises ChildDied where there is no child, Unwanted."""
        while not self.device.places.take(PING_SECONDS):
            if not self.still():
                raise Unwanted
        child = self.device.child
        if child is None or child.process.poll() is not None:
            self.device.places.give()
            self.device.died()
            raise ChildDied
        self.lane = child.open()
        return self.lane

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the next one have it."""
        if self.lane:
            self.lane.__exit__()
        self.device.places.give()
        if kind is not None and issubclass(kind, ChildDied):
            self.device.died()
