"""One job inside the child: tells its progress, notices that its time is over, hands its files in.

A run's files are uploaded; those of a session's frame go to the parent, not to any store.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

from inference import devices, media
from inference.control import Control, FenceLost, Refused, Unreachable, again
from inference.engine import Engine, OverBudget, Running, Stopped, UnknownModel
from inference.joining import OUT_OF_MEMORY
from inference.models.contract import Drawn, Step, Unusable
from inference.wire import Completion, Failure, Job, Output, Progress, Usage

log = logging.getLogger("inference.attempt")
UPLOAD_SECONDS = 30.0
CODES: dict[type, str] = {
    FenceLost: "upload_failed",
    Unreachable: "upload_failed",
    Refused: "upload_failed",
    UnknownModel: "unknown_model",
    OverBudget: "out_of_memory",
    Unusable: "invalid_input",
    **dict.fromkeys(OUT_OF_MEMORY, "out_of_memory"),
}
Say = Callable[..., None]


def code_of(error: Exception) -> str:
    """Name what went wrong."""
    return next((CODES[kind] for kind in type(error).mro() if kind in CODES), "engine_error")


def failure(error: Exception) -> Failure:
    """Say why a run failed.  What its inputs are at fault for would fail anywhere."""
    if isinstance(error, Unusable):
        return Failure(code_of(error), str(error))
    return Failure(code_of(error), f"{type(error).__name__}: {error}", retry=True)


class Cancelled(Stopped):
    """The parent no longer wants the run."""


class Overran(Stopped):
    """The run took longer than its release allows."""


class Attempt:
    """A run's way through the child.  say: sends the parent a message about this one."""

    def __init__(self, job: Job, engine: Engine, control: Control, say: Say) -> None:
        """Take it; its clock starts once its model is loaded."""
        self.job, self.engine, self.control, self.say = job, engine, control, say
        self.cancelled = self.waited = False
        self.running: Running | None = None
        self.began: float | None = None

    def begin(self) -> None:
        """Have the model loaded, then prepare the run.  Raises what `Engine.begin` does."""
        if self.job.target not in self.engine.resident:
            self.tell(Progress("load", 0, 0))
        self.engine.ensure(self.job.target)
        self.tell(Progress("prepare", 0, 0))
        self.began = time.monotonic()
        self.running = self.engine.begin(self.job, self.on_step)

    def wait(self) -> None:
        """Say, once, that it has to wait for runs of other models."""
        if not self.waited:
            self.waited = True
            self.tell(Progress("wait", 0, 0))

    def tell(self, progress: Progress) -> None:
        """Tell how far it is."""
        self.say(progress=progress.to_json())

    def on_step(self, step: Step) -> None:
        """Tell of a step, then stop if that was asked for.  Never waits for the parent."""
        preview = media.data_uri(step.preview) if step.preview else None
        self.tell(Progress("denoise", step.index, step.steps, preview))
        self.check()

    def check(self) -> None:
        """Raise if the parent cancelled this attempt, or if its time is over."""
        if self.cancelled:
            raise Cancelled
        if self.began and time.monotonic() - self.began > self.job.timeout_seconds:
            raise Overran

    def hand_in(self, drawn: list[Drawn], content_type: str) -> None:
        """Encode and upload, and say how the run ended.  Runs beside the device's own thread."""
        self.end(lambda: self.succeed(media.encoded(drawn, content_type), content_type))

    def fail(self, error: Exception) -> None:
        """Say that the run ended by this."""

        def again_raised() -> Completion:
            raise error

        self.end(again_raised)

    def end(self, how: Callable[[], Completion]) -> None:
        """Say how it ended, whatever that was."""
        try:
            completion = how()
        except Cancelled:
            completion = self.ended("cancelled")
        except Overran:
            message = f"took longer than {self.job.timeout_seconds:g} seconds"
            completion = self.ended("failed", Failure("timeout", message))
        except Exception as error:
            log.exception("run %s failed", self.job.run)
            completion = self.ended("failed", failure(error))
        self.say(done=completion.to_json(), resident=self.engine.resident)

    def succeed(self, files: tuple[bytes, ...], content_type: str) -> Completion:
        """Upload every file."""
        outputs = []
        for index, content in enumerate(files):
            self.upload(index, content)
            digest = hashlib.sha256(content).hexdigest()
            outputs.append(Output(index, content_type, len(content), digest))
        return replace(self.ended("succeeded", outputs=len(files)), outputs=tuple(outputs))

    def upload(self, index: int, content: bytes) -> None:
        """PUT one file, again while the other side is away."""
        target = next((item for item in self.job.uploads if item.index == index), None)
        if target is None:
            raise Refused(f"no upload address for output {index}")

        def once() -> None:
            self.check()
            self.control.put(target.url, content, target.content_type)

        again(once, UPLOAD_SECONDS, Event())

    def ended(self, state: Any, error: Failure | None = None, outputs: int = 0) -> Completion:
        """Say what was used until now."""
        if self.running is None:
            usage = Usage(peak_bytes=devices.peak_bytes(self.engine.device))
        else:
            usage = self.running.usage(outputs, self.engine.device)
        return Completion(self.job.run, self.job.attempt, state, (), usage, error)


class Loading(Attempt):
    """A model that a session wants to have loaded before its seconds count."""

    def begin(self) -> None:
        """Have it loaded and say so."""
        self.engine.ensure(self.job.target)
        self.say(loaded=self.job.target, resident=self.engine.resident)

    def tell(self, progress: Progress) -> None:
        """Say nothing."""

    def fail(self, error: Exception) -> None:
        """Say that it is not loaded."""
        log.warning("cannot load %s: %r", self.job.target, error)
        self.say(loaded="", resident=self.engine.resident)


class Frame(Attempt):
    """One frame of a session: nothing is told on the way, and its files go to the parent."""

    def tell(self, progress: Progress) -> None:
        """Say nothing."""

    def hand_in(self, drawn: list[Drawn], content_type: str) -> None:
        """Encode and hand over."""
        self.drawn(media.encoded(drawn, content_type), content_type, None)

    def fail(self, error: Exception) -> None:
        """Say that there is no frame."""
        log.warning("a frame of %s failed: %r", self.job.run, error)
        self.drawn((), "", failure(error))

    def drawn(self, files: tuple[bytes, ...], content_type: str, error: Failure | None) -> None:
        """Hand the files over, one message of bytes each after the one that announces them."""
        told = {
            "content_type": content_type,
            "lengths": [len(content) for content in files],
            "error": error.to_json() if error else None,
        }
        self.say(drawn=told, resident=self.engine.resident, files=files)
