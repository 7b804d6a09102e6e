"""Quotes per second in pure Python, one core: `python -m tests.load.quotes`.

Each request has its own inputs, so nothing but the parsed price is remembered between two quotes.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from marketplace.metering.quote import book_of
from marketplace.metering.units import Facts

FACTS = Facts(60, {"gpu_seconds_per_step": "0.07", "steps": 20})
SECONDS = 1.0
BINDING = timedelta(minutes=15)
FRAMES = "inputs.height * inputs.width * (inputs.before + usage.video_second) * 24 / 1024"
BOOKS: dict[str, list[dict[str, Any]]] = {
    "per image": [{"unit": "image", "unit_price": "0.002"}],
    "per second of compute": [{"unit": "gpu_second", "unit_price": "0.0001"}],
    "by resolution, more with sound": [
        {
            "unit": "video_second",
            "table": [
                {"when": {"resolution": "1080p"}, "unit_price": "0.04"},
                {"when": {"resolution": "1440p"}, "unit_price": "0.08"},
            ],
            "factors": [{"when": {"sound": True}, "factor": "1.4"}],
        }
    ],
    "tokens by a formula": [{"unit": "token", "quantity": FRAMES, "unit_price": "0.000007"}],
}


def measure() -> dict[str, int]:
    """Quotes per second for each kind of price."""
    return {name: rate(lines) for name, lines in BOOKS.items()}


def rate(lines: list[dict[str, Any]]) -> int:
    book, now, done = book_of(lines), datetime.now(UTC), 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        for n in range(1, 101):
            inputs = {
                "count": n % 4 + 1, "steps": n, "seconds": n % 10 + 1, "before": n % 5,
                "height": 64 * n, "width": 1280, "resolution": "1440p", "sound": n % 2 == 0,
            }  # fmt: skip
            book.quote(inputs, FACTS, now, BINDING)
        done += 100
    return round(done / (time.perf_counter() - begun))


if __name__ == "__main__":
    for name, per_second in measure().items():
        print(f"{per_second:>8,} quotes/s  {name}")
