"""Seconds of a realtime session: from the moment a worker serves it until it ends.

Waiting in the queue and loading are not counted. Measured is the database's own time between the
two; it counts, unless the worker says that it served for less.
"""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses

PLACES = Decimal("0.000001")
LONGEST = 600  # where a release publishes nothing else
USUAL = Decimal(60)


class SessionSecond:
    slug = "session_second"
    label = "second of session"
    tolerance = Decimal(3)  # a worker's word is as old as its last call

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        longest = facts.published.get("session_seconds", LONGEST)
        return Decimal(str(inputs.get("session_seconds", longest)))

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return min(USUAL, self.upper_bound(inputs, facts))

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        if witnesses.measured is None or witnesses.measured < 0:
            return None
        counted, said = witnesses.measured, witnesses.reported
        if said is not None and 0 <= said < counted - self.tolerance:
            counted = said
        return min(witnesses.requested, counted).quantize(PLACES)
