"""A worker that serves sessions: real claims, real HTTP, and an easel where its device would be."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from inference.control import Control, Unreachable
from inference.session import Files, Session, Still
from inference.wire import Failure, Frame, Job
from partners import drawing
from tests.marketplace.runs.conftest import WORKER_TOKEN
from tests.marketplace.web import Client

PICTURE = drawing.thumbnail("red heart", 0, 0)


@dataclass
class Easel:
    """Implements `inference.session.Artist` in no time. hung: it draws nothing until it is not."""

    hung: bool = False
    jobs: list[Job] = field(default_factory=list)

    def load(self, slug: str, still: Still) -> None:
        """There is nothing to load."""

    def draw(self, job: Job, number: int, still: Still) -> tuple[Frame, Files]:
        self.jobs.append(job)
        while self.hung:
            time.sleep(0.05)
        if job.inputs["prompt"] == "fail":
            return Frame(number, 0.001, error=Failure("engine_error", "It cannot.")), ()
        return Frame(number, 0.001, "image/png", (len(PICTURE),)), (PICTURE,)


@dataclass
class Sitter:
    """Claims sessions and serves each in a thread. killed: says nothing more, as after SIGKILL."""

    control: Control
    easel: Easel = field(default_factory=Easel)
    stop: threading.Event = field(default_factory=threading.Event)
    sessions: list[Session] = field(default_factory=list)

    def claim(self) -> None:
        while not self.stop.wait(0.03):
            try:
                job = self.control.claim("gpu-1", "cpu.std", ["glyph"])
            except Unreachable:  # the web process has ended before us
                return
            if job:
                self.sessions.append(Session(self.control, job, self.easel, self.stop))
                self.sessions[-1].start()

    def die(self) -> None:
        """Fall silent at once, in the middle of a word."""
        for session in self.sessions:
            session.door.say = silent  # type: ignore[method-assign, assignment]
            session.give_up = lambda: None  # type: ignore[method-assign]


def silent(*_: object) -> None:
    time.sleep(0.2)
    raise Unreachable


@contextmanager
def sitting(web: Client) -> Iterator[Sitter]:
    """A worker until the block ends; it is `gpu-1`, which the test has registered."""
    sitter = Sitter(Control(f"http://127.0.0.1:{web.port}", WORKER_TOKEN))
    thread = threading.Thread(target=sitter.claim)
    thread.start()
    try:
        yield sitter
    finally:
        sitter.easel.hung = False
        sitter.stop.set()
        thread.join(10)
        for session in sitter.sessions:
            session.join(10)
