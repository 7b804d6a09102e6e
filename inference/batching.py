"""Walks the loops of several runs at once, one call of the device after the other.

Forwards that loops wait for stand in buckets of equal form. The bucket that had fewest tokens goes
next, so that a long video and many small pictures get the device in equal parts. Runs join and
leave between two calls. Knows nothing of jobs, pipes or models.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from torch import Tensor

from inference import forms
from inference.joining import Joiner, rows
from inference.models.contract import Forward, Loop, Step

OnStep = Callable[[Step], None]


@dataclass(eq=False)
class Walk:
    """One run's loop on its way.  seconds: of the device, its share of joined calls included.

    over: it asks for nothing more; then `error` says why, or is None at its own end.
    """

    loop: Loop
    on_step: OnStep
    answers: list[Tensor | None] = field(default_factory=list)
    seconds: float = 0.0
    over: bool = False
    error: Exception | None = None

    def end(self, error: Exception | None) -> None:
        """Ask for nothing more."""
        self.loop.close()
        self.over, self.error = True, error

    def go_on(self) -> list[Forward]:
        """Give the loop what it waits for.  → the forwards it asks for next; none at its end."""
        began = time.monotonic()
        try:
            sent = [answer for answer in self.answers if answer is not None]
            asked = self.loop.send(sent) if sent else next(self.loop)
            while not isinstance(asked, list) or not asked:
                if isinstance(asked, Step):
                    self.on_step(asked)
                asked = next(self.loop) if isinstance(asked, Step) else self.loop.send([])
        except StopIteration:
            self.end(None)
            return []
        except Exception as error:
            self.end(error)
            return []
        finally:
            self.seconds += time.monotonic() - began
        self.answers = [None] * len(asked)
        return asked


@dataclass(frozen=True, eq=False)
class Waiting:
    """One forward that a walk waits for, and its place among those it asked for."""

    walk: Walk
    place: int
    forward: Forward


class Floor:
    """All walks of one device."""

    def __init__(self, joiner: Joiner) -> None:
        """Start with nobody on it."""
        self.joiner = joiner
        self.walks: list[Walk] = []
        self.buckets: dict[Hashable, deque[Waiting]] = {}  # the longest waiting first
        self.served: dict[Hashable, int] = {}  # tokens that each form had, ahead of `now`
        self.now = 0  # what the form last served had had before

    def join(self, loop: Loop, on_step: OnStep) -> Walk:
        """Let a loop begin; whatever `on_step` raises ends it at that step."""
        walk = Walk(loop, on_step)
        self.walks.append(walk)
        self.ask(walk)
        return walk

    def leave(self, walk: Walk, error: Exception) -> None:
        """End a walk here and now."""
        walk.end(error)
        for form, bucket in list(self.buckets.items()):
            self.buckets[form] = deque(item for item in bucket if item.walk is not walk)
            if not self.buckets[form]:
                del self.buckets[form]

    def ask(self, walk: Walk) -> None:
        """Put into buckets what a walk asks for next."""
        for place, forward in enumerate(walk.go_on()):
            bucket = self.buckets.setdefault(forms.shared(forward), deque())
            bucket.append(Waiting(walk, place, forward))

    def turn(self) -> list[Walk]:
        """Make one call of the device.  → the walks that are over, each told once."""
        chosen = self.choose()
        answers = self.joiner.call([item.forward for item in chosen]) if chosen else []
        for item, answer in zip(chosen, answers, strict=True):
            item.walk.seconds += answer.seconds
            if isinstance(answer.estimate, Tensor):
                item.walk.answers[item.place] = answer.estimate
            elif not item.walk.over:
                self.leave(item.walk, answer.estimate)
        for walk in dict.fromkeys(item.walk for item in chosen):
            if not walk.over and all(answer is not None for answer in walk.answers):
                self.ask(walk)
        over = [walk for walk in self.walks if walk.over]
        self.walks = [walk for walk in self.walks if not walk.over]
        return over

    def choose(self) -> list[Waiting]:
        """Take the forwards of the next call, from the bucket that had fewest tokens.

        One that is new, or was away, starts level with the others: nobody saves up turns.
        """
        if not self.buckets:
            return []
        form = min(self.buckets, key=lambda form: self.served.get(form, self.now))
        bucket = self.buckets[form]
        first = bucket[0].forward
        size = self.joiner.size(first, len(bucket))
        self.now = max(self.now, self.served.get(form, 0))
        self.served = {form: had for form, had in self.served.items() if had > self.now}
        self.served[form] = self.now + size * max(1, rows(first) * first.tokens)
        taken = [bucket.popleft() for _ in range(size)]
        if not bucket:
            del self.buckets[form]
        return taken
