"""One per run that delivers."""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses


class Request:
    slug = "request"
    label = "request"
    tolerance = Decimal(0)

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(1)

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(1)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        return witnesses.requested
