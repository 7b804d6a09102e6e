"""The process that owns the device: holds the models, runs jobs together, speaks over a pipe.

Started as `python -m inference.child <fd> <control url> <first models>`; dies with its parent. The
pipe carries JSON; `lane` tells to which of the parent's requests a message belongs.

    in   {"run": job} · {"draw": job} · {"load": job} · {"cancel": true}
    out  {"ready": [slugs], "runs": most at once} · {"progress": ...}
         {"done": completion, "resident": [slugs]} · {"loaded": slug or "", "resident": [slugs]}
         {"drawn": {content_type, lengths, error}}, then one message of bytes per length
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from threading import Lock, Thread
from typing import Any

from inference import devices
from inference.attempt import Attempt, Frame, Loading
from inference.control import Control
from inference.engine import Engine, Running, Stopped
from inference.models.contract import Drawn
from inference.process import die_with_parent
from inference.residency import Occupied
from inference.wire import Job

log = logging.getLogger("inference.child")
KINDS: dict[str, type[Attempt]] = {"run": Attempt, "draw": Frame, "load": Loading}


class Child:
    """The pipe's end and the engine behind it.

    One thread hears the parent and drives the device; each finished run has one that uploads.
    """

    def __init__(self, pipe: Connection, control: Control, engine: Engine) -> None:
        """Take the pipe to the parent, the way to upload, and an engine."""
        self.pipe, self.control, self.engine = pipe, control, engine
        self.speaking = Lock()
        self.attempts: dict[int, Attempt] = {}  # by lane, from when it is asked to its end
        self.waiting: list[int] = []  # lanes of those that have not begun

    def say(self, lane: int, files: Sequence[bytes] = (), **message: Any) -> None:
        """Send one message to the parent, and the files that it announces."""
        with self.speaking:
            self.pipe.send_bytes(json.dumps({"lane": lane} | message).encode())
            for content in files:
                self.pipe.send_bytes(content)

    def serve(self, first: list[str]) -> None:
        """Load the first models, then run what is sent until the pipe closes."""
        for slug in first:
            self.engine.ensure(slug)
        self.say(0, ready=self.engine.resident, runs=devices.runs_at_once(self.engine.device))
        while True:
            while self.pipe.poll(0 if self.engine.running else None):
                self.heed(json.loads(self.pipe.recv_bytes()))
                self.begin_waiting()
            self.stop_unwanted()
            self.turn()
            self.begin_waiting()

    def heed(self, message: dict[str, Any]) -> None:
        """Take in what the parent says; a cancel that comes too late is passed over."""
        lane = message["lane"]
        if "cancel" in message:
            if attempt := self.attempts.get(lane):
                attempt.cancelled = True
            return
        for word, kind in KINDS.items():
            if word in message:
                job = Job.from_json(message[word])
                say = partial(self.say, lane)
                self.attempts[lane] = kind(job, self.engine, self.control, say)
                self.waiting.append(lane)

    def begin_waiting(self) -> None:
        """Begin what waits, in order; what has no room yet waits on, and all that came later."""
        for lane in list(self.waiting):
            attempt = self.attempts[lane]
            try:
                attempt.check()
                attempt.begin()
            except Occupied:
                attempt.wait()
                return
            except Exception as error:
                attempt.fail(error)
            self.waiting.remove(lane)
            if attempt.running is None:
                del self.attempts[lane]

    def stop_unwanted(self) -> None:
        """Take runs off the device that are cancelled or took too long."""
        for attempt in list(self.attempts.values()):
            if attempt.running and attempt.running.walk in self.engine.running:
                try:
                    attempt.check()
                except Stopped as error:
                    self.engine.stop(attempt.running, error)

    def turn(self) -> None:
        """Make one call of the device, and let go of the runs that are over."""
        lanes = {attempt.running: lane for lane, attempt in list(self.attempts.items())}
        for running in self.engine.turn():
            lane = lanes[running]
            try:
                drawn = self.engine.finish(running)
            except Exception as error:
                self.attempts.pop(lane).fail(error)
            else:
                Thread(target=self.hand_in, args=(lane, running, drawn), daemon=True).start()

    def hand_in(self, lane: int, running: Running, drawn: list[Drawn]) -> None:
        """Have files encoded and handed in; the device goes on meanwhile."""
        attempt = self.attempts[lane]
        try:
            attempt.hand_in(drawn, running.content_type)
        except Exception as error:
            attempt.fail(error)
        finally:
            del self.attempts[lane]


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
