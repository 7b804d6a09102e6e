"""`max_cost`: what a caller allows a run to cost in all, checked before anything is held."""

import re
from typing import Any

from marketplace import errors
from marketplace.money import Money, parse

DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


def cost_limit(value: Any) -> int | None:
    """`max_cost` of a body in nano-units. Raises InvalidInput."""
    if value is None:
        return None
    if isinstance(value, bool | float) or not isinstance(value, str | int):
        raise errors.InvalidInput(
            'max_cost must be a decimal number in a string, such as "0.05".', param="max_cost"
        )
    text = str(value)
    try:
        return parse(text if DECIMAL.fullmatch(text) else "")
    except ValueError as reason:
        raise errors.InvalidInput(f"max_cost {reason}.", param="max_cost") from None


def within(max_cost: int | None, quoted: int, currency: str) -> None:
    """Raises CostAboveLimit where the run may cost more than its caller allows."""
    if max_cost is None or quoted <= max_cost:
        return
    most, limit = Money(quoted, currency), Money(max_cost, currency)
    raise errors.CostAboveLimit(
        f"This run may cost {most}, more than max_cost {limit}.",
        param="max_cost",
        quoted=most.as_json(),
        max_cost=limit.as_json(),
    )
