"""One claimed run in a worker's hands: drives the child with it, keeps its lease, tells its end.

A thread of its own per run; a second one, the lease, talks to the control plane meanwhile, so that
neither the step loop nor the pipe ever waits for HTTP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Thread

from inference.control import Control, FenceLost, Refused, Unreachable, again
from inference.device import TICK_SECONDS, Device
from inference.lease import Lease
from inference.process import ChildDied, Process
from inference.watch import Watch, lost
from inference.wire import Completion, Job

log = logging.getLogger("inference.hand")

COMPLETE_SECONDS = 60.0


class Hand(Thread):
    """Lives until its run has ended and that was told."""

    def __init__(
        self,
        control: Control,
        job: Job,
        device: Device,
        child: Process,
        stopping: Event,
        ended: Callable[[], None],
    ) -> None:
        """Take a claimed run and where to run it; `start` begins, `ended` is called at its end."""
        super().__init__(name=f"run {job.run}", daemon=True)
        self.control, self.job, self.device, self.child = control, job, device, child
        self.stopping, self.ended = stopping, ended
        self.over = False

    def run(self) -> None:
        """Run it to its end."""
        try:
            self.execute()
        except Exception:
            log.exception("run %s was dropped; its lease will end", self.job.run)
            self.device.forget(self.child)
        finally:
            self.over = True
            self.ended()

    def execute(self) -> None:
        """Run the job and tell how it ended, under the lease until it is told."""
        lease = Lease(self.control, self.job)
        lease.start()
        try:
            completion = self.attempt(lease)
            if not lease.fence_lost:
                self.tell(completion)
        finally:
            lease.close()

    def attempt(self, lease: Lease) -> Completion:
        """Have a place on the device and follow the child; one that dies loses the attempt."""
        while not self.device.places.take(TICK_SECONDS):
            if self.stopping.is_set():
                return lost(self.job, 0, "worker_stopped", "the worker was stopped")
        try:
            return self.follow(lease)
        except ChildDied:
            log.warning("the child died during %s", self.job.run)
            self.device.forget(self.child)
            return lost(self.job, lease.steps, "worker_lost", "the process that ran it died")
        finally:
            self.device.places.give()

    def follow(self, lease: Lease) -> Completion:
        """Read the child's messages until the job is done, cancelled or handed back."""
        watch = Watch(self.job.timeout_seconds)
        with self.child.open() as lane:
            lane.send(run=self.job.to_json())
            while True:
                message = lane.receive(TICK_SECONDS) or {}
                if "progress" in message:
                    watch.hear(message["progress"]["stage"])
                    lease.tell(message["progress"])
                if "done" in message:
                    return watch.judge(Completion.from_json(message["done"]), self.job)
                handing_back = watch.hand_back_due(self.stopping.is_set())
                if (lease.unwanted or handing_back) and watch.cancelled_at is None:
                    watch.cancelled_at = time.monotonic()
                    lane.send(cancel=True)
                if watch.kill_due():
                    self.device.forget(self.child)
                    return watch.killed(self.job, lease.steps)

    def tell(self, completion: Completion) -> None:
        """Tell how an attempt ended, for a minute if need be: the control plane may restart."""
        seconds = 1.0 if self.stopping.is_set() else COMPLETE_SECONDS
        try:
            again(lambda: self.control.complete(completion), seconds, self.stopping)
        except FenceLost:
            log.info("attempt %s of %s is no longer ours", completion.attempt, completion.run)
        except (Unreachable, Refused) as error:
            log.error("could not tell the end of %s: %s", completion.run, error)  # noqa: TRY400
