"""Keeps the lease of one attempt and passes its progress on, from a thread of its own."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from threading import Condition, Thread
from typing import Any

from inference.control import Control, FenceLost, Refused, Unreachable
from inference.wire import Job, Progress

log = logging.getLogger("inference.lease")

LEAST_GAP = 0.1  # seconds between two calls: at most ten a second
RETRY_SECONDS = 1.0


class Lease(Thread):
    """Renews until closed; `unwanted` turns true when the run is cancelled or the fence is lost."""

    def __init__(self, control: Control, job: Job) -> None:
        """Take the attempt; `start` begins."""
        super().__init__(name=f"lease {job.run}", daemon=True)
        self.control, self.job = control, job
        self.changed = Condition()
        self.pending: Progress | None = None
        self.steps = 0
        self.closed = self.cancelled = self.fence_lost = False

    @property
    def unwanted(self) -> bool:
        """Tell whether the work should stop."""
        return self.cancelled or self.fence_lost

    def tell(self, found: dict[str, Any]) -> None:
        """Leave progress to be sent; newer replaces older, but an unsent preview stays."""
        progress = Progress.from_json(found)
        with self.changed:
            if progress.preview is None and self.pending is not None:
                progress = replace(progress, preview=self.pending.preview)
            self.pending, self.steps = progress, progress.step
            self.changed.notify()

    def close(self) -> None:
        """Stop renewing; returns without waiting for a call under way."""
        with self.changed:
            self.closed = True
            self.changed.notify()

    def run(self) -> None:
        """Report what is pending, or renew every third of the lease."""
        pause = self.job.lease_seconds / 3
        while not (self.closed or self.fence_lost):
            with self.changed:
                self.changed.wait_for(lambda: self.closed or self.pending is not None, pause)
                progress, self.pending = self.pending, None
            if not self.closed:
                pause = self.call(progress)
                time.sleep(LEAST_GAP)

    def call(self, progress: Progress | None) -> float:
        """Make one call; gives the seconds until the next renewal is due."""
        try:
            if progress:
                cancel = self.control.report(self.job, progress)
            else:
                cancel = self.control.renew(self.job)
            self.cancelled = self.cancelled or cancel
        except FenceLost:
            self.fence_lost = True
        except (Unreachable, Refused) as error:
            log.warning("cannot renew %s: %s", self.job.run, error)
            return RETRY_SECONDS
        return self.job.lease_seconds / 3
