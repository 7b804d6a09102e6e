"""The parent's side of a worker: claims runs, drives the child, keeps the lease, tells the end.

One thread, the runner, owns the child and claims; a second one, per run, talks to the control plane
so that neither the step loop nor the pipe ever waits for HTTP. Knows nothing of Celery or torch.
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
from inference.lease import Lease
from inference.process import ChildDied, Process
from inference.session import Session
from inference.wire import Completion, Failure, Job, State, Usage

log = logging.getLogger("inference.runner")

BOOT_SECONDS = 300.0  # the child may take this long to import and load
KILL_SECONDS = 10.0  # a cancelled child may take this long to obey
HAND_BACK_SECONDS = 2.5  # a stopping worker lets its run go on for this long
COMPLETE_SECONDS = 60.0
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
        """Claim and run until there is nothing."""
        while not self.stopping.is_set():
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
                with self.device.lock:
                    self.execute(child, job)

    def claim(self, child: Process) -> Job | None:
        """Claim one run, telling what is loaded."""
        return self.control.claim(self.settings.name, self.settings.queue, child.resident)

    def ready_child(self) -> Process:
        """Have a child that has loaded its first models.  Raises ChildDied."""
        with self.device.lock:
            child = self.device.child
            if child and child.process.poll() is None:
                return child
            self.forget_child()
            told = self.settings
            child = self.device.child = Process(told.command, told.url, told.preload)
            end = time.monotonic() + BOOT_SECONDS
            while time.monotonic() < end and not self.stopping.is_set():
                if child.receive(TICK_SECONDS):
                    return child
        raise ChildDied

    def forget_child(self) -> None:
        """Kill and reap the child, if any; the next one starts before the next claim."""
        if self.device.child:
            self.device.child.kill()
            self.device.child = None

    def child_died(self) -> None:
        """Have the runner start another child; a session may have found it dead."""
        with self.changed:
            self.asked += 1
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

    def execute(self, child: Process, job: Job) -> None:
        """Run one claimed job to its end and tell it, under the lease until it is told."""
        lease = Lease(self.control, job)
        lease.start()
        try:
            completion = self.attempt(child, job, lease)
            if not lease.fence_lost:
                self.tell(completion)
        finally:
            lease.close()

    def attempt(self, child: Process, job: Job, lease: Lease) -> Completion:
        """Follow the child; one that dies loses the attempt."""
        try:
            return self.follow(child, job, lease)
        except ChildDied:
            log.warning("the child died during %s", job.run)
            self.forget_child()
            return lost(job, lease.steps, "worker_lost", "the process that ran it died")

    def follow(self, child: Process, job: Job, lease: Lease) -> Completion:
        """Read the child's messages until the job is done, cancelled or handed back."""
        child.send(run=job.to_json())
        watch = Watch(job.timeout_seconds)
        while True:
            message = child.receive(TICK_SECONDS) or {}
            if "progress" in message:
                watch.hear(message["progress"]["stage"])
                lease.tell(message["progress"])
            if "done" in message:
                return watch.judge(Completion.from_json(message["done"]), job)
            handing_back = watch.hand_back_due(self.stopping.is_set())
            if (lease.unwanted or handing_back) and watch.cancelled_at is None:
                watch.cancelled_at = time.monotonic()
                child.send(cancel=[job.run, job.attempt])
            if watch.kill_due():
                self.forget_child()
                return watch.killed(job, lease)

    def tell(self, completion: Completion) -> None:
        """Tell how an attempt ended, for a minute if need be: the control plane may restart."""
        seconds = 1.0 if self.stopping.is_set() else COMPLETE_SECONDS
        try:
            again(lambda: self.control.complete(completion), seconds, self.stopping)
        except FenceLost:
            log.info("attempt %s of %s is no longer ours", completion.attempt, completion.run)
        except (Unreachable, Refused) as error:
            log.error("could not tell the end of %s: %s", completion.run, error)  # noqa: TRY400


class Watch:
    """When a job in hand is to be cancelled, killed or handed back."""

    def __init__(self, timeout_seconds: float) -> None:
        """Allow for loading first; the job's own timeout starts with its preparation."""
        self.timeout_seconds = timeout_seconds
        self.latest = time.monotonic() + BOOT_SECONDS
        self.cancelled_at: float | None = None
        self.stopped_at: float | None = None

    def hear(self, stage: str) -> None:
        """Start the clock of the job's timeout once its model is loaded."""
        if stage == "prepare":
            self.latest = time.monotonic() + self.timeout_seconds + KILL_SECONDS

    def hand_back_due(self, stopping: bool) -> bool:
        """Tell whether the worker is stopping and has waited long enough for the job."""
        if stopping and self.stopped_at is None:
            self.stopped_at = time.monotonic()
        return bool(self.stopped_at) and self.age(self.stopped_at) > HAND_BACK_SECONDS

    def kill_due(self) -> bool:
        """Tell whether the child had its chance to stop by itself."""
        patience = 1.0 if self.stopped_at else KILL_SECONDS
        obeyed_not = bool(self.cancelled_at) and self.age(self.cancelled_at) > patience
        return obeyed_not or time.monotonic() > self.latest

    def judge(self, completion: Completion, job: Job) -> Completion:
        """Pass the child's word on; but a run stopped for our sake is lost, not cancelled."""
        if completion.state == "cancelled" and self.stopped_at:
            return lost(job, completion.usage.steps, "worker_stopped", "the worker was stopped")
        return completion

    def killed(self, job: Job, lease: Lease) -> Completion:
        """Say how an attempt ended whose child had to be killed."""
        if self.stopped_at:
            return lost(job, lease.steps, "worker_stopped", "the worker was stopped")
        if self.cancelled_at:
            return ended(job, "cancelled", lease.steps, None)
        error = Failure("timeout", f"took longer than {job.timeout_seconds:g} seconds")
        return ended(job, "failed", lease.steps, error)

    @staticmethod
    def age(moment: float | None) -> float:
        """Seconds since a moment."""
        return time.monotonic() - (moment or 0.0)


def ended(job: Job, state: State, steps: int, error: Failure | None) -> Completion:
    """Say how an attempt without outputs ended."""
    return Completion(job.run, job.attempt, state, (), Usage(steps=steps), error)


def lost(job: Job, steps: int, code: str, message: str) -> Completion:
    """Hand an attempt back: another worker may take the run."""
    return ended(job, "lost", steps, Failure(code, message, retry=True))
