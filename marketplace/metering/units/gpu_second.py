"""Seconds of a worker's hardware: what a run computed, alone or as its share.

Queueing, loading, compilation and uploads are not counted. Requested is the release's hard
timeout; measured is the control plane's own time between claim and completion, which also holds
what is not counted, so it bounds the report from above.
"""

from decimal import Decimal

from marketplace.metering.units.contract import Facts, Inputs, Witnesses

PLACES = Decimal("0.000001")


class GpuSecond:
    slug = "gpu_second"
    label = "second of compute"
    tolerance = Decimal(1)

    def upper_bound(self, inputs: Inputs, facts: Facts) -> Decimal:
        return Decimal(facts.timeout_seconds)

    def expected(self, inputs: Inputs, facts: Facts) -> Decimal:
        """Steps × pictures × the published seconds per step."""
        per_step = Decimal(str(facts.published.get("gpu_seconds_per_step", 1)))
        steps = inputs.get("steps", facts.published.get("steps", 20))
        work = per_step * Decimal(steps) * Decimal(inputs.get("count", 1))
        return min(work, self.upper_bound(inputs, facts)).quantize(PLACES)

    def charged(self, witnesses: Witnesses) -> Decimal | None:
        if witnesses.reported is None or witnesses.measured is None or witnesses.reported < 0:
            return None
        if witnesses.reported > witnesses.measured + self.tolerance:
            return None
        return min(witnesses.requested, witnesses.reported, witnesses.measured).quantize(PLACES)
