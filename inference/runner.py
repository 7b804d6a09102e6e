"""The parent's side of a worker: starts the child, claims runs while there are places on it.

One thread owns the child and claims; every claimed run has a hand of its own (`hand.py`). Knows
nothing of Celery or torch.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Event, Thread

from inference.control import Control, FenceLost, Refused, Unreachable, again
from inference.device import TICK_SECONDS, Device
from inference.hand import Hand
from inference.process import ChildDied, Process
from inference.session import Session
from inference.watch import BOOT_SECONDS
from inference.wire import Job

log = logging.getLogger("inference.runner")

SESSIONS_SECONDS = 2.0  # sessions of a stopping worker may take this long to end


@dataclass(frozen=True)
class Settings:
    """Who this worker is and whom it serves."""

    url: str
    token: str
    name: str
    queue: str = "cpu.std"
    preload: str = "glyph"
    poll_seconds: float = 2.0
    command: tuple[str, ...] = field(default=(sys.executable, "-m", "inference.child"))

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the KINORA_* variables.  Raises KeyError for a missing one."""
        return cls(
            url=os.environ["KINORA_CONTROL_URL"],
            token=os.environ["KINORA_WORKER_TOKEN"],
            name=os.environ.get("KINORA_WORKER_NAME") or socket.gethostname(),
            queue=os.environ.get("KINORA_WORKER_QUEUE") or "cpu.std",
            preload=os.environ.get("KINORA_WORKER_PRELOAD", "glyph"),
            poll_seconds=float(os.environ.get("KINORA_WORKER_POLL_SECONDS", "2")),
        )


class Runner:
    """Claims and runs until nothing is left; sleeps until it is woken or its poll is due."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; `start` begins."""
        self.settings = settings
        self.control = Control(settings.url, settings.token)
        self.device = Device(died=self.child_died)
        self.sessions: list[Session] = []
        self.hands: list[Hand] = []
        self.stopping = Event()
        self.changed = Condition()
        self.asked = self.answered = 0
        self.thread = Thread(target=self.live, name="runner", daemon=True)

    def start(self) -> None:
        """Start the child and claim once."""
        self.asked = 1
        self.thread.start()

    def wake(self) -> None:
        """Claim until nothing is left; returns when a claim made after this call found nothing."""
        with self.changed:
            self.asked += 1
            mine = self.asked
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.answered >= mine or not self.thread.is_alive())

    def stop(self) -> None:
        """Claim no more; the run in hand may end or is handed back.  Safe in a signal handler."""
        self.stopping.set()

    def join(self, seconds: float) -> None:
        """Wait for the runner to end."""
        self.thread.join(seconds)

    def live(self) -> None:
        """Serve wakes until stopped."""
        while not self.stopping.is_set():
            seen = self.asked
            try:
                self.drain()
            except Exception:
                log.exception("a claimed run was dropped; its lease will end")
                self.forget_child()
            self.settle(seen)
        for hand in self.hands:
            hand.join()
        self.join_sessions(SESSIONS_SECONDS)
        self.forget_child()
        with self.changed:
            self.answered = sys.maxsize
            self.changed.notify_all()

    def settle(self, seen: int) -> None:
        """Answer the wakes up to `seen`, then sleep until the next one or the poll."""
        end = time.monotonic() + self.settings.poll_seconds
        with self.changed:
            self.answered = seen
            self.changed.notify_all()
            while self.asked == seen and not self.stopping.is_set() and time.monotonic() < end:
                self.changed.wait(0.25)  # `stop` may not notify: it runs in a signal handler

    def drain(self) -> None:
        """Claim until there is nothing; a run is claimed only where a place is free for it."""
        while self.has_place():
            try:
                child = self.ready_child()
                job = again(partial(self.claim, child), 3600, self.stopping)
            except ChildDied:
                self.forget_child()
                self.stopping.wait(1)
                continue
            except (Unreachable, Refused, FenceLost) as error:
                log.warning("cannot claim: %s", error)
                return
            if job is None:
                return
            if job.session:
                self.begin_session(job)
            else:
                self.begin_run(job, child)

    def has_place(self) -> bool:
        """Wait until a further run may be claimed; not once the worker is stopping."""
        with self.changed:
            while not self.stopping.is_set():
                self.hands = [hand for hand in self.hands if not hand.over]
                if len(self.hands) < self.device.places.most:
                    return True
                self.changed.wait(0.25)  # `stop` may not notify
        return False

    def claim(self, child: Process) -> Job | None:
        """Claim one run, telling what is loaded; beside runs in hand only such as needs no more."""
        return self.control.claim(
            self.settings.name,
            self.settings.queue,
            child.resident,
            resident_only=any(not hand.over for hand in self.hands),
        )

    def ready_child(self) -> Process:
        """Have a child that has loaded its first models.  Raises ChildDied."""
        child = self.device.child
        if child and child.process.poll() is None:
            return child
        self.forget_child()
        told = self.settings
        child = Process(told.command, told.url, told.preload)
        self.device.child = child
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and not self.stopping.is_set():
            if child.first.receive(TICK_SECONDS):
                self.device.places.allow(child.runs)
                return child
        raise ChildDied

    def forget_child(self) -> None:
        """Kill and reap the child, if any; the next one starts before the next claim."""
        self.device.forget(self.device.child)

    def child_died(self) -> None:
        """Have the runner start another child; a session may have found it dead."""
        with self.changed:
            self.asked += 1
            self.changed.notify_all()

    def begin_run(self, job: Job, child: Process) -> None:
        """Run a job in a hand of its own, which the runner waits for if no place is left."""
        hand = Hand(self.control, job, self.device, child, self.stopping, self.run_ended)
        self.hands.append(hand)
        hand.start()

    def run_ended(self) -> None:
        """Claim again, if that waits for a place."""
        with self.changed:
            self.changed.notify_all()

    def begin_session(self, job: Job) -> None:
        """Serve a session beside whatever else runs; it takes the device frame by frame."""
        self.sessions = [session for session in self.sessions if session.is_alive()]
        session = Session(self.control, job, self.device, self.stopping)
        self.sessions.append(session)
        session.start()

    def join_sessions(self, seconds: float) -> None:
        """Let sessions say that they end."""
        end = time.monotonic() + seconds
        for session in self.sessions:
            session.join(max(0.0, end - time.monotonic()))
