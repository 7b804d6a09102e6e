"""A fee for a request that was refused after work: counted when nothing was delivered for it."""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses


class Rejection:
    slug = "rejection"
    label = "refused request"
    tolerance = Decimal(0)

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(1)

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(0)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        """One where settlement saw a refusal, which excludes every other unit."""
        return min(witnesses.requested, witnesses.measured or Decimal(0))
