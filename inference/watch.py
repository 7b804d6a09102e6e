"""When a run in hand is to be cancelled, killed or handed back, and how it ended then."""

from __future__ import annotations

import math
import time

from inference.wire import Completion, Failure, Job, State, Usage

BOOT_SECONDS = 300.0  # the child may take this long to import and load
KILL_SECONDS = 10.0  # a cancelled child may take this long to obey
HAND_BACK_SECONDS = 2.5  # a stopping worker lets its run go on for this long


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
        if stage == "wait":  # for runs of other models, each of which has a watch of its own
            self.latest = math.inf
        if stage == "load":
            self.latest = time.monotonic() + BOOT_SECONDS
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

    def killed(self, job: Job, steps: int) -> Completion:
        """Say how an attempt ended whose child had to be killed."""
        if self.stopped_at:
            return lost(job, steps, "worker_stopped", "the worker was stopped")
        if self.cancelled_at:
            return ended(job, "cancelled", steps, None)
        error = Failure("timeout", f"took longer than {job.timeout_seconds:g} seconds")
        return ended(job, "failed", steps, error)

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
