"""Megapixels of delivered pictures: width × height ÷ 10⁶ of each; rounding is the price's."""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses, lowest_agreed

MILLION = Decimal(1_000_000)


class Megapixel:
    slug = "megapixel"
    label = "megapixel"
    tolerance = Decimal("0.05")

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        width, height = sides(inputs)
        return width * height * Decimal(inputs.get("count", 1)) / MILLION

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return self.upper_bound(inputs, facts)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        return lowest_agreed(witnesses, self.tolerance)


def sides(inputs: Inputs) -> tuple[Decimal, Decimal]:
    """Width and height that were asked for: by name, as `size` 1024, or as `size` "1024x768"."""
    if "width" in inputs and "height" in inputs:
        return Decimal(inputs["width"]), Decimal(inputs["height"])
    first, _, second = str(inputs["size"]).partition("x")
    return Decimal(first), Decimal(second or first)
