"""Steps of a training run, reported by the trainer, never more than were asked for."""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses


class TrainingStep:
    slug = "training_step"
    label = "training step"
    tolerance = Decimal(0)

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(inputs["steps"])

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        return self.upper_bound(inputs, facts)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        if witnesses.reported is None or not 0 <= witnesses.reported <= witnesses.requested:
            return None
        return witnesses.reported
