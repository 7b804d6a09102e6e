"""The outcome × charge matrix: what each of the nine outcomes costs the customer, by a named rule.

A matrix is frozen with a price version and so pinned by the run; settlement reads it and nothing
else. What could charge for nothing is refused when it is published. Pure: no database, no money.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from marketplace.errors import InvalidInput
from marketplace.metering.units import FEES

Policy = Mapping[str, str]
OUTCOMES = (
    "succeeded",
    "partial",
    "invalid_input",
    "refused_before",
    "refused_after",
    "supplier_error",
    "our_error",
    "cancelled_before",
    "cancelled_after",
)
DELIVERING = ("succeeded", "partial")
ALWAYS_FREE = ("invalid_input", "supplier_error", "our_error", "cancelled_before")
OVERRUN = Decimal(2)  # seconds that a worker may take to hear of a cancel
# Used up even if nothing comes out.
SPENT = frozenset({"gpu_second", "token", "training_step", "session_second"})

RULES = {  # rule → what the customer pays, as one reads it
    "nothing": "nothing",
    "delivered": "for what was delivered",
    "used": "for what was used until it ended",
    "fee": "the fee for a refused request",
    "until_cancel": f"for compute until the worker stopped, at most {OVERRUN} s after the cancel",
}
IF = {  # outcome → when it is so, after "if"
    "succeeded": "all that you asked for was delivered",
    "partial": "only a part was delivered",
    "invalid_input": "your inputs were wrong",
    "refused_before": "it was refused before work",
    "refused_after": "it was refused after work",
    "supplier_error": "the supplier failed or took too long",
    "our_error": "we failed",
    "cancelled_before": "you cancelled before work began",
    "cancelled_after": "you cancelled during work",
}


def standard(units: Sequence[str]) -> dict[str, str]:
    """Who pays when, where nobody says otherwise: for what is delivered, for compute until a
    cancel is heard, and a fee where the price has one."""
    free = dict.fromkeys(OUTCOMES, "nothing") | dict.fromkeys(DELIVERING, "delivered")
    for outcome, rule in (("cancelled_after", "until_cancel"), ("refused_after", "fee")):
        if rule in possible(outcome, units):
            free[outcome] = rule
    if "session_second" in units:  # a session that is called off was used until then
        free["cancelled_after"] = "used"
    return free


def checked(policy: Any, units: Sequence[str]) -> dict[str, str]:
    """The matrix, complete and possible for a price that counts `units`.

    Raises InvalidInput naming the outcome and what is allowed there.
    """
    if not isinstance(policy, dict):
        raise InvalidInput("policy must map each outcome to a rule.", param="policy")
    if unknown := sorted(policy.keys() - set(OUTCOMES)):
        known = ", ".join(OUTCOMES)
        raise InvalidInput(f"policy: there is no outcome {unknown[0]}; known: {known}.",
                           param=f"policy.{unknown[0]}"[:120])  # fmt: skip
    for outcome in OUTCOMES:
        if outcome not in policy:
            raise InvalidInput(f"policy.{outcome} is missing.", param=f"policy.{outcome}")
        allowed = possible(outcome, units)
        if policy[outcome] not in allowed:
            raise InvalidInput(
                f"policy.{outcome} must be {' or '.join(allowed)}: {reason(outcome)}.",
                param=f"policy.{outcome}",
            )
    return {outcome: policy[outcome] for outcome in OUTCOMES}


def possible(outcome: str, units: Sequence[str]) -> tuple[str, ...]:
    """The rules that an outcome may have at a price that counts `units`."""
    counted = {unit.partition(":")[0] for unit in units}
    if outcome in ALWAYS_FREE:
        return ("nothing",)
    if outcome == "succeeded":
        return ("delivered",)
    if outcome == "partial":
        return ("nothing", "delivered")
    if outcome == "refused_after" and counted & FEES:
        return ("nothing", "fee")
    if outcome == "cancelled_after" and "gpu_second" in counted:
        return ("nothing", "until_cancel")
    return ("nothing", "used") if counted & SPENT else ("nothing",)


def reason(outcome: str) -> str:
    """Why an outcome allows no more than it does."""
    if outcome in ALWAYS_FREE:
        return "nobody pays for it"
    if outcome == "succeeded":
        return "a free model has a price of 0"
    if outcome == "cancelled_after":
        return "nothing is delivered, and compute stops counting soon after the cancel"
    return "nothing more is delivered than what the units count"


def rule_of(policy: Policy, outcome: str) -> str:
    """The rule that an outcome is settled by; what a matrix does not name is free."""
    return policy.get(outcome, "nothing")


def dearer(before: Policy, after: Policy) -> str:
    """Which outcome is charged that was free; empty where none is."""
    for outcome in OUTCOMES:
        if rule_of(before, outcome) == "nothing" != rule_of(after, outcome):
            return f"It was free if {IF[outcome]}."
    return ""


def table(policy: Policy) -> list[dict[str, str]]:
    """The matrix for a reader, in its own order."""
    return [
        {
            "outcome": outcome,
            "rule": rule_of(policy, outcome),
            "pays": f"You pay {RULES[rule_of(policy, outcome)]} if {IF[outcome]}.",
        }
        for outcome in OUTCOMES
    ]
