"""Amounts of money: whole nano-units (10⁻⁹) of a currency, never a float.

Unit prices and quantities are exact Decimals or Fractions; `nano` rounds, once per charge.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

NANO = 1_000_000_000
LARGEST = 9_000_000_000 * NANO  # below 2⁶³
EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Money:
    """amount: nano-units of `currency` (ISO 4217)."""

    amount: int
    currency: str = "USD"

    def __str__(self) -> str:
        return f"{shown(self.amount)} {self.currency}"

    def as_json(self) -> dict[str, Any]:
        """{"amount": "0.006", "currency": "USD", "nano": 6000000}"""
        return {"amount": plain(self.amount), "currency": self.currency, "nano": self.amount}


def nano(value: Fraction | Decimal | int) -> int:
    """Round an exact amount in major units to nano-units, half to even."""
    above, below = value.as_integer_ratio()
    whole, rest = divmod(above * NANO, below)
    return whole + (2 * rest > below or (2 * rest == below and whole % 2 == 1))


def plain(amount: int) -> str:
    """Nano-units as a decimal string without needless zeros, at least two decimals."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), NANO)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def shown(amount: int) -> str:
    """What a page shows: cents above a dollar, two significant digits below a cent."""
    size = abs(amount)
    sign = "−" if amount < 0 else ""
    if size == 0 or size >= NANO:
        cents = (size + 5_000_000) // 10_000_000
        return f"{sign}${cents // 100:,}.{cents % 100:02d}"
    value = Decimal(size) / NANO
    places = 4 if size >= 10_000_000 else 1 - value.adjusted()
    text = f"{value:.{places}f}".rstrip("0")
    return f"{sign}${text if len(text.partition('.')[2]) >= 2 else f'{value:.2f}'}"


def parse(text: str) -> int:
    """Nano-units from a decimal string. Raises ValueError where it is negative, not finite,
    finer than a nano-unit or beyond the ledger's range."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError("must be a decimal number such as 0.05") from None
    if not value.is_finite():
        raise ValueError("must be a finite number")
    if value < 0:
        raise ValueError("must not be negative")
    if value.adjusted() > 12 or value > LARGEST // NANO:
        raise ValueError(f"must be at most {LARGEST // NANO}")
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and exponent < -9:
        raise ValueError("must have at most 9 decimal places")
    return int(value.scaleb(9, EXACT))
