"""One realtime session on a worker: asks for prompts at the door, has them drawn, says the frames.

A thread of its own per session, so that sessions and plain runs share one device: it is taken for
one frame at a time. The session is kept alive by what is said at the door, also while a frame is
being drawn or the device is busy; nothing else renews its lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from typing import Protocol

from inference.control import Control, FenceLost, Refused, Unreachable, again
from inference.door import Door
from inference.process import ChildDied
from inference.wire import Completion, Failure, Frame, Job, Prompt, Said, Usage, Word

log = logging.getLogger("inference.session")

AWAY_SECONDS = 5.0  # the door may be unreachable for so long
PING_SECONDS = 1.0
TELL_SECONDS = 20.0
Files = Sequence[bytes]
Still = Callable[[], bool]


class Over(Exception):
    """The door says that the session has ended."""


class Unwanted(Exception):
    """Nobody wants the frame any more; raised by an artist that was told so."""


class Artist(Protocol):
    """What a session asks of the device: `device.Device` is one."""

    def load(self, slug: str, still: Still) -> None:
        """Have a model loaded.  Raises ChildDied, Unwanted."""

    def draw(self, job: Job, number: int, still: Still) -> tuple[Frame, Files]:
        """Draw a frame.  still: called about every second, tells whether it is wanted."""


class Session(Thread):
    """Runs until the door says that it is over, cannot be reached, or the worker stops."""

    def __init__(self, control: Control, job: Job, artist: Artist, stop: Event) -> None:
        """Take a claimed session and the device; `start` begins."""
        super().__init__(name=f"session {job.run}", daemon=True)
        self.control, self.job, self.artist, self.stop = control, job, artist, stop
        self.door = Door(control, job.session)
        self.began = 0.0

    def run(self) -> None:
        """Serve it and hang up."""
        try:
            self.live()
        finally:
            self.door.close()

    def live(self) -> None:
        """Serve it.  Whatever ends it here and not at the door is told as a loss."""
        try:
            self.artist.load(self.job.target, self.loading)
            self.began = time.monotonic()
            self.serve(self.say())
        except Over:
            return
        except (FenceLost, Unreachable, Refused, ChildDied, Unwanted) as error:
            log.warning("session %s is cut off: %r", self.job.run, error)
        except Exception:
            log.exception("session %s broke", self.job.run)
        self.give_up()

    def serve(self, said: Said) -> None:
        """Draw what is asked for until it is over, or the worker stops."""
        while not self.stop.is_set():
            if said.prompt is None:
                said = self.say()
                continue
            frame, files = self.draw(said.prompt)
            said = self.say(frame, files)

    def draw(self, prompt: Prompt) -> tuple[Frame, Files]:
        """Draw one prompt with what is left of the session's own settings."""
        job = Job(
            run=self.job.run,
            attempt=self.job.attempt,
            release=self.job.release,
            target=self.job.target,
            inputs=prompt.inputs,
            timeout_seconds=self.job.timeout_seconds,
        )
        return self.artist.draw(job, prompt.number, self.wanted)

    def say(
        self,
        frame: Frame | None = None,
        files: Files = (),
        *,
        busy: bool = False,
        leaving: bool = False,
    ) -> Said:
        """Say a word at the door, again while it cannot be reached.  Raises Over and the door's."""
        seconds = round(time.monotonic() - self.began, 6)
        word = Word(self.job.run, self.job.attempt, seconds, busy, leaving, frame)
        said = again(partial(self.door.say, word, files), AWAY_SECONDS, self.stop)
        if said.end:
            raise Over(said.end)
        return said

    def wanted(self) -> bool:
        """Say that we are at it; tells whether to go on."""
        try:
            self.say(busy=True)
        except (Over, FenceLost, Unreachable, Refused):
            return False
        return not self.stop.is_set()

    def loading(self) -> bool:
        """Keep the lease before anything is counted."""
        try:
            return not self.control.renew(self.job) and not self.stop.is_set()
        except Unreachable:
            return not self.stop.is_set()
        except (FenceLost, Refused):
            return False

    def give_up(self) -> None:
        """Say that we serve the session no more: at the door, else to the control plane."""
        try:
            self.say(leaving=True)
        except (Over, FenceLost):
            return
        except (Unreachable, Refused) as error:
            log.warning("session %s: nobody is at the door: %s", self.job.run, error)
            self.tell_loss()

    def tell_loss(self) -> None:
        """Hand the attempt back; what was witnessed of the session is settled."""
        failure = Failure("worker_lost", "the worker serves this session no more")
        end = Completion(self.job.run, self.job.attempt, "lost", (), Usage(), failure)
        seconds = 1.0 if self.stop.is_set() else TELL_SECONDS
        try:
            again(lambda: self.control.complete(end), seconds, self.stop)
        except (FenceLost, Unreachable, Refused) as error:
            log.warning("could not tell the end of %s: %s", self.job.run, error)
