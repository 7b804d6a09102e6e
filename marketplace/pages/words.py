"""How states, outcomes, times, durations and quantities are said on a page. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from marketplace.metering.quote import decimal
from marketplace.metering.units import unit_of

STATES = {
    "queued": "Waiting",
    "running": "Running",
    "succeeded": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "open": "Held",
    "captured": "Captured",
    "voided": "Given back",
    "in_review": "In review",
    "revoked": "Revoked",
    "pending": "Waiting",
    "delivered": "Delivered",
    "dead": "Not delivered",
    "enabled": "Enabled",
    "failing": "Failing",
    "disabled": "Disabled",
}

OUTCOMES = {
    "succeeded": "Finished",
    "partial": "Partly finished",
    "invalid_input": "The inputs were wrong",
    "refused_before": "Refused before work",
    "refused_after": "Refused after work",
    "supplier_error": "The supplier failed",
    "our_error": "We failed",
    "cancelled_before": "Cancelled before work",
    "cancelled_after": "Cancelled during work",
}

BUDGETS = {
    "team": "The whole team",
    "member": "Member",
    "key": "Key",
    "project": "Project",
    "end_user": "End user",
}
PERIODS = {"day": "a day", "month": "a month", "total": "in all"}
REASONS = {
    "undecodable": "the file cannot be used",
    "wrong_length": "the wrong length",
    "wrong_form": "another size, rate, sound or format than asked for",
    "duplicate": "the same run twice",
    "other": "something else",
}
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def ago(then: datetime, now: datetime) -> str:
    """`3 min ago`, `in 29 d`; the date itself beyond thirty days in the past."""
    seconds = int((now - then).total_seconds())
    if abs(seconds) < 5:
        return "just now"
    if seconds > 30 * 86_400:
        return f"{then:%-d %b %Y}"
    size, name = next(unit for unit in UNITS if abs(seconds) >= unit[0])
    number = abs(seconds) // size
    return f"in {number} {name}" if seconds < 0 else f"{number} {name} ago"


def lasted(duration: timedelta | float) -> str:
    """`45 ms`, `1.3 s`, `2 min 04 s`, `3 h 20 min`."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if seconds < 0.0995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60:02d} min"


def share(part: float) -> str:
    """`98.8 %`; rounded down, so that only what is whole says 100 %."""
    tenths = int(part * 1000 + 1e-9)
    return f"{tenths / 10:.1f} %" if tenths % 10 else f"{tenths // 10} %"


def quantity(value: Fraction | Decimal | str | None) -> str:
    """A quantity without needless zeros; a dash where a witness said nothing."""
    return "–" if value is None else decimal(Fraction(value))


def units(quantities: Mapping[str, Decimal]) -> str:
    """`4 images · 12.5 seconds of video`."""
    return " · ".join(counted(unit, number) for unit, number in sorted(quantities.items()))


def counted(unit: str, number: Decimal) -> str:
    head, _, tail = unit_of(unit).label.partition(" ")
    if number != 1:
        head += "s"
    exact = f"{number.normalize():,f}"
    return f"{exact} {head} {tail}".rstrip()


def size(count: int) -> str:
    """Bytes for a reader: `812 B`, `48 kB`, `3.1 MB`."""
    if count < 1_000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1_000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"
