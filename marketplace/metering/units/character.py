"""Characters of a text input: Unicode code points after normalisation to NFC."""

import unicodedata
from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses

TEXTS = ("text", "prompt")


class Character:
    slug = "character"
    label = "character"
    tolerance = Decimal(0)

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        text = next((str(inputs[name]) for name in TEXTS if name in inputs), "")
        return Decimal(len(unicodedata.normalize("NFC", text)))

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return self.upper_bound(inputs, facts)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        """What was sent is known here exactly; a supplier that counts fewer is believed."""
        if witnesses.reported is None:
            return witnesses.requested
        return max(Decimal(0), min(witnesses.requested, witnesses.reported))
