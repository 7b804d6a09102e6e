"""Tokens by class, such as `token:image_out`: reported by the supplier, bounded by the release.

The release publishes the most that a run can use, `facts["tokens"][class]`, as a number or as a
formula's result; without such a bound a token price cannot be published.
"""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses


class Token:
    slug = "token"
    label = "token"
    tolerance = Decimal(0)

    def __init__(self, kind: str = "") -> None:
        self.kind = kind

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(str(facts.published["tokens"][self.kind]))

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        usual = facts.published.get("expected_tokens", {}).get(self.kind)
        bound = self.upper_bound(inputs, facts)
        return bound if usual is None else min(bound, Decimal(str(usual)))

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        """The report, where it stays within the bound; nobody else can count them."""
        if witnesses.reported is None or not 0 <= witnesses.reported <= witnesses.requested:
            return None
        return witnesses.reported
