"""How much shares the device: places that runs and frames of sessions take and give back."""

from __future__ import annotations

from threading import Condition


class Places:
    """So many at once; whoever comes first."""

    def __init__(self) -> None:
        """Start with one place."""
        self.changed = Condition()
        self.most, self.taken = 1, 0

    def allow(self, most: int) -> None:
        """Set how many there are."""
        with self.changed:
            self.most = most
            self.changed.notify_all()

    def take(self, seconds: float) -> bool:
        """Wait up to `seconds` for a place."""
        with self.changed:
            found = self.changed.wait_for(lambda: self.taken < self.most, seconds)
            self.taken += found
            return found

    def give(self) -> None:
        """Give a place back."""
        with self.changed:
            self.taken -= 1
            self.changed.notify()
