"""The process that owns the device: holds the models, runs one job at a time, speaks over a pipe.

Started as `python -m inference.child <fd> <control url> <first models>`; dies with its parent. The
pipe carries JSON.

    in   {"run": job} · {"draw": job} · {"load": slug} · {"cancel": [run, attempt]}
    out  {"ready": [slugs]} · {"progress": ...} · {"done": completion, "resident": [slugs]}
         {"loaded": slug or "", "resident": [slugs]}
         {"drawn": {content_type, lengths, error}}, then one message of bytes per length
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from threading import Event
from typing import Any

from inference import devices, media
from inference.control import Control, FenceLost, Refused, Unreachable, again
from inference.engine import Engine, OverBudget, Result, Stopped, UnknownModel
from inference.models.contract import Step
from inference.wire import Completion, Failure, Job, Output, Progress, Usage

log = logging.getLogger("inference.child")
PR_SET_PDEATHSIG = 1
UPLOAD_SECONDS = 30.0
CODES: dict[type, str] = {
    FenceLost: "upload_failed",
    Unreachable: "upload_failed",
    Refused: "upload_failed",
    UnknownModel: "unknown_model",
    OverBudget: "out_of_memory",
    MemoryError: "out_of_memory",
}


def code_of(error: Exception) -> str:
    """Name what went wrong."""
    return next((CODES[kind] for kind in type(error).mro() if kind in CODES), "engine_error")


class Cancelled(Stopped):
    """The parent no longer wants the run."""


class Overran(Stopped):
    """The run took longer than its release allows."""


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:  # it ended before the call above
        os._exit(1)


class Child:
    """The pipe's end and the engine behind it."""

    def __init__(self, pipe: Connection, control: Control, engine: Engine) -> None:
        """Take the pipe to the parent, the way to upload, and an engine."""
        self.pipe, self.control, self.engine = pipe, control, engine

    def say(self, **message: Any) -> None:
        """Send one message to the parent."""
        self.pipe.send_bytes(json.dumps(message).encode())

    def hear(self) -> dict[str, Any]:
        """Wait for one message.  Raises EOFError when the parent is gone."""
        found: dict[str, Any] = json.loads(self.pipe.recv_bytes())
        return found

    def serve(self, first: list[str]) -> None:
        """Load the first models, then run what is sent until the pipe closes."""
        for slug in first:
            self.engine.ensure(slug)
        self.say(ready=self.engine.resident)
        while True:
            message = self.hear()
            if "run" in message:  # a cancel that came too late is passed over
                done = self.complete(Job.from_json(message["run"]))
                self.say(done=done.to_json(), resident=self.engine.resident)
            elif "draw" in message:
                self.draw(Job.from_json(message["draw"]))
            elif "load" in message:
                self.load(message["load"])

    def load(self, slug: str) -> None:
        """Have a model loaded before its session is counted."""
        try:
            self.engine.ensure(slug)
        except Exception:
            log.exception("cannot load %s", slug)
            slug = ""
        self.say(loaded=slug, resident=self.engine.resident)

    def draw(self, job: Job) -> None:
        """Draw one frame of a session and hand its files over, not to any store."""
        attempt = Attempt(self, job)
        files: tuple[bytes, ...] = ()
        told: dict[str, Any] = {"content_type": "", "lengths": [], "error": None}
        try:
            result = self.engine.run(job, lambda _: attempt.check())
            files, told["content_type"] = result.files, result.content_type
            told["lengths"] = [len(content) for content in files]
        except EOFError:
            raise
        except Exception as error:
            log.exception("a frame of %s failed", job.run)
            told["error"] = Failure(code_of(error), f"{type(error).__name__}: {error}").to_json()
        self.say(drawn=told, resident=self.engine.resident)
        for content in files:
            self.pipe.send_bytes(content)

    def complete(self, job: Job) -> Completion:
        """Run a job and say how it ended; nothing but a closed pipe gets out."""
        attempt = Attempt(self, job)
        try:
            attempt.load()
            return attempt.succeed(self.engine.run(job, attempt.on_step))
        except Cancelled:
            return attempt.end("cancelled")
        except Overran:
            return attempt.fail("timeout", f"took longer than {job.timeout_seconds:g} seconds")
        except EOFError:
            raise
        except Exception as error:
            log.exception("run %s failed", job.run)
            return attempt.fail(code_of(error), f"{type(error).__name__}: {error}", retry=True)


class Attempt:
    """One job's progress inside the child."""

    def __init__(self, child: Child, job: Job) -> None:
        """Start the clock that `timeout_seconds` runs against."""
        self.child, self.job, self.taken = child, job, 0
        self.seconds, self.began = 0.0, time.monotonic()

    def load(self) -> None:
        """Have the model loaded before the clock of the run's timeout starts."""
        if self.job.target not in self.child.engine.resident:
            self.child.say(progress=Progress("load", 0, 0).to_json())
        self.child.engine.ensure(self.job.target)
        self.child.say(progress=Progress("prepare", 0, 0).to_json())
        self.began = time.monotonic()

    def on_step(self, step: Step) -> None:
        """Tell of a step, then stop if that was asked for.  Never waits for the parent."""
        self.taken, self.seconds = step.index, time.monotonic() - self.began
        preview = media.data_uri(step.preview) if step.preview else None
        progress = Progress("denoise", step.index, step.steps, preview)
        self.child.say(progress=progress.to_json())
        self.check()

    def check(self) -> None:
        """Raise if the parent cancelled this attempt, or if its time is over."""
        while self.child.pipe.poll():
            if self.child.hear().get("cancel") == [self.job.run, self.job.attempt]:
                raise Cancelled
        if time.monotonic() - self.began > self.job.timeout_seconds:
            raise Overran

    def succeed(self, result: Result) -> Completion:
        """Upload every file; the seconds of the last try of each count as used."""
        seconds = result.usage.gpu_seconds
        outputs = []
        for index, content in enumerate(result.files):
            seconds += self.upload(index, content)
            digest = hashlib.sha256(content).hexdigest()
            outputs.append(Output(index, result.content_type, len(content), digest))
        usage = Usage(round(seconds, 6), len(outputs), result.usage.steps, result.usage.peak_bytes)
        return Completion(self.job.run, self.job.attempt, "succeeded", tuple(outputs), usage)

    def upload(self, index: int, content: bytes) -> float:
        """PUT one file, again while the other side is away; gives the last try's seconds."""
        target = next((item for item in self.job.uploads if item.index == index), None)
        if target is None:
            raise Refused(f"no upload address for output {index}")

        def once() -> float:
            self.check()
            began = time.monotonic()
            self.child.control.put(target.url, content, target.content_type)
            return time.monotonic() - began

        return again(once, UPLOAD_SECONDS, Event())

    def end(self, state: Any, error: Failure | None = None) -> Completion:
        """End without outputs, with what was used until now."""
        peak = devices.peak_bytes(self.child.engine.device)
        usage = Usage(round(self.seconds, 6), 0, self.taken, peak)
        return Completion(self.job.run, self.job.attempt, state, (), usage, error)

    def fail(self, code: str, message: str, *, retry: bool = False) -> Completion:
        """End as failed."""
        return self.end("failed", Failure(code, message, retry))


def main() -> None:
    """Serve the pipe whose descriptor is the first argument."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    logging.basicConfig(level=logging.INFO)
    device = devices.pick()
    devices.settle(device)
    pipe = Connection(int(sys.argv[1]))
    # The token stays with the parent: addresses of uploads are signed.
    child = Child(pipe, Control(sys.argv[2], ""), Engine(device))
    try:
        child.serve([slug for slug in sys.argv[3].split(",") if slug])
    except (EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(0)


if __name__ == "__main__":
    main()
