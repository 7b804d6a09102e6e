"""Whose money a captured charge is: the lab's part, rounded down, and the rest ours. Pure.

A credit that the lab funds costs it once. Where its part is of the net, it gets no part of what
such credits paid; where it is of the gross, it gets its part of all and its statement takes off
what they paid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.ledger.accounts import payable_account, revenue_account
from marketplace.ledger.capture import Share

WHOLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """A version of an agreement, as far as a run needs it."""

    agreement: int
    lab: str
    basis: str
    millionths: int
    promotions: str

    @classmethod
    def from_json(cls, found: Mapping[str, Any] | None) -> "Terms | None":
        return cls(**found) if found else None

    @property
    def by_share(self) -> bool:
        """Whether the lab gets a part of charges, and not what its tariff says."""
        return self.basis != "unit_cost"


@dataclass(frozen=True, slots=True)
class Part:
    """What a hold took from one account, nano-units. funder: of a credit; empty for money."""

    amount: int
    funder: str = ""


def split(
    model: str, amount: int, terms: Terms | None, parts: Iterable[Mapping[str, Any]] = ()
) -> list[Share]:
    """The shares of a charge, which sum to `amount`; none is negative, nor one of 0.

    parts: {amount, funder} of what the hold stands on, in burn order; asked for by `net` only.
    """
    part = 0
    if terms and terms.by_share:
        base = amount
        if terms.basis == "net":
            taken = spent(amount, [Part(p["amount"], p["funder"] or "") for p in parts])
            base -= sum(p.amount for p in taken if funds(terms, p.funder))
        part = base * terms.millionths // WHOLE
    shares = [Share(revenue_account(model), amount - part)]
    if terms and part:
        shares.append(Share(payable_account(terms.lab), part))
    return [share for share in shares if share.amount]


def spent(amount: int, parts: Sequence[Part]) -> list[Part]:
    """What a capture of `amount` takes of each part, first to last."""
    taken, missing = [], amount
    for part in parts:
        taken.append(Part(min(part.amount, missing), part.funder))
        missing -= taken[-1].amount
    return taken


def funds(terms: Terms, funder: str) -> bool:
    """Whether the lab bears what a credit of this funder pays."""
    if not funder or terms.promotions == "kinora":
        return False
    return terms.promotions == "lab" or funder == terms.lab
