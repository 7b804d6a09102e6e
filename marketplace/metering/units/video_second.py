"""Seconds of delivered video, counted from frames and their rate, not from a file's header."""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses, lowest_agreed


class VideoSecond:
    slug = "video_second"
    label = "second of video"
    tolerance = Decimal("0.1")

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        """What was asked for, or what the release publishes where it always delivers as much."""
        seconds = inputs.get("seconds", facts.published.get("seconds"))
        if seconds is None:
            raise KeyError("seconds")
        return Decimal(str(seconds)) * Decimal(inputs.get("count", 1))

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return self.upper_bound(inputs, facts)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        return lowest_agreed(witnesses, self.tolerance)
