"""The child as this worker's threads share it: one job or one frame at a time, under one lock."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from inference.process import ChildDied, Process
from inference.session import PING_SECONDS, Files, Still, Unwanted
from inference.wire import Failure, Frame, Job

TICK_SECONDS = 0.05
UNWANTED_SECONDS = 10.0  # a frame that nobody wants any more may take this long to stop


class Device:
    """The lock, and the child behind it while there is one.

    Whoever starts the child must outlive it, so only the runner does.
    """

    def __init__(self, died: Callable[[], None]) -> None:
        """Take whom to tell when the child is found dead."""
        self.lock = Lock()
        self.child: Process | None = None
        self.died = died

    def load(self, slug: str, still: Still) -> None:
        """Have a model loaded before its session is counted.  Raises ChildDied."""
        with Turn(self, still) as child:
            child.send(load=slug)
            message = self.answer(child, "loaded", still, job=None)
            if message["loaded"] != slug:
                raise ChildDied

    def draw(self, job: Job, number: int, still: Still) -> tuple[Frame, Files]:
        """Draw one frame.  Raises ChildDied."""
        began = time.monotonic()
        with Turn(self, still) as child:
            child.send(draw=job.to_json())
            told = self.answer(child, "drawn", still, job=job)["drawn"]
            files = [child.raw() for _ in told["lengths"]]
        seconds = round(time.monotonic() - began, 6)
        error = Failure.from_json(told["error"]) if told["error"] else None
        frame = Frame(number, seconds, told["content_type"], tuple(told["lengths"]), error)
        return frame, files

    def answer(self, child: Process, word: str, still: Still, job: Job | None) -> dict[str, Any]:
        """Wait for the child's answer; a frame that is not wanted any more is called off."""
        said, unwanted = time.monotonic(), 0.0
        while True:
            message = child.receive(TICK_SECONDS) or {}
            if word in message:
                return message
            now = time.monotonic()
            if unwanted and now > unwanted:
                child.process.send_signal(signal.SIGKILL)
                raise ChildDied
            if not unwanted and now - said > PING_SECONDS:
                said = now
                if not still():
                    unwanted = now + UNWANTED_SECONDS
                    if job:
                        child.send(cancel=[job.run, job.attempt])


class Turn:
    """The device for one frame, once it is free; says that we wait for it meanwhile."""

    def __init__(self, device: Device, still: Still) -> None:
        """Take whose turn it is."""
        self.device, self.still = device, still

    def __enter__(self) -> Process:
        """Wait for it.  Raises ChildDied where there is no child, Unwanted."""
        while not self.device.lock.acquire(timeout=PING_SECONDS):
            if not self.still():
                raise Unwanted
        child = self.device.child
        if child is None or child.process.poll() is not None:
            self.device.lock.release()
            self.device.died()
            raise ChildDied
        return child

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let the next one have it."""
        self.device.lock.release()
        if kind is not None and issubclass(kind, ChildDied):
            self.device.died()
