"""When a delivery that failed is tried again: sooner at first, for a day at most. Pure.

What a run tells before its end is tried for less than a minute, since the end waits for it.
"""

from random import Random

FIRST = 5.0  # seconds
FACTOR = 3
LONGEST = 6 * 3600.0
TRIES = 12  # of what ends a run: 22 to 23 hours from the first to the last
SOON = (2.0, 8.0, 20.0)  # between the tries of what does not
JITTER = 0.1

chance = Random()  # noqa: S311 - spreads load, guards nothing


def wait(*, failed: int, final: bool) -> float | None:
    """Seconds until the next try after `failed` ones; None where there is none."""
    if not final:
        return SOON[failed - 1] if failed <= len(SOON) else None
    if failed >= TRIES:
        return None
    plain: float = min(FIRST * FACTOR ** (failed - 1), LONGEST)
    return plain * chance.uniform(1 - JITTER, 1 + JITTER)
