"""Images: each delivered picture counts one."""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses, lowest_agreed


class Image:
    slug = "image"
    label = "image"
    tolerance = Decimal(0)

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(inputs.get("count", 1))

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return self.upper_bound(inputs, facts)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        return lowest_agreed(witnesses, self.tolerance)
