"""The rooms that a run has passed, one leaf each, with their times. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marketplace.pages.words import lasted

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
SETTLED = {
    "captured": "captured",
    "voided": "given back",
    "in_review": "in review",
    "open": "still held",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A room. took: how long after the room before it, or what it says; lit: it was passed."""

    name: str
    took: str
    lit: bool
    at: datetime | None = None
    nano: int | None = None


def instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def timeline(receipt: dict[str, Any]) -> list[Leaf]:
    """Leaves of a receipt, in the order of the journey."""
    created, started = instant(receipt["created_at"]), instant(receipt["started_at"])
    finished = instant(receipt["finished_at"])
    ended = receipt["state"] in TERMINAL
    cost, tries = receipt["cost"], receipt["attempts"]
    claimed = lasted(receipt["waiting_seconds"]) if started else "waiting"
    worked = lasted(receipt["running_seconds"]) if started and ended else "at work"
    count = len(receipt["outputs"])
    made = f"{count} output{'' if count == 1 else 's'}" if ended else ""
    if ended and receipt["session"]:
        made = f"{receipt['session']['frames']} drawn"
    return [
        Leaf("Admitted", f"price v{cost['price_version']}", True, created),
        Leaf("Held", "", True, created, cost["held"]["nano"]),
        Leaf("Claimed", claimed if tries < 2 else f"attempt {tries}", started is not None, started),
        Leaf("Executed", worked if started else "", ended and started is not None, finished),
        Leaf("Probed", made, ended and bool(receipt["usage"]), finished),
        Leaf("Settled", SETTLED.get(cost["state"], "") if ended else "", ended, finished),
    ]
