"""What a team has: posted, held, available, credit by credit."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from marketplace.ledger.models import Account
from marketplace.money import Money


@dataclass(frozen=True, slots=True)
class Credit:
    """One account of a team; amounts in nano-units."""

    account_id: int
    kind: str
    name: str
    posted: int
    held: int
    expires_at: datetime | None

    @property
    def available(self) -> int:
        return self.posted - self.held


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums over the credits that can still be spent; held money of expired ones counts as held."""

    posted: int
    held: int
    available: int
    credits: tuple[Credit, ...]
    currency: str = "USD"

    def as_json(self) -> dict[str, Any]:
        amounts = {"posted": self.posted, "held": self.held, "available": self.available}
        return {name: Money(value, self.currency).as_json() for name, value in amounts.items()} | {
            "credits": [
                {
                    "name": credit.name,
                    "kind": credit.kind,
                    "available": Money(credit.available, self.currency).as_json(),
                    "held": Money(credit.held, self.currency).as_json(),
                    "expires_at": credit.expires_at,
                }
                for credit in self.credits
            ]
        }


def balance(team_id: UUID, currency: str = "USD") -> Balance:
    """One query. Credits come in the order in which they are spent."""
    now = timezone.now()
    rows = sorted(
        Account.objects.filter(team_id=team_id, currency=currency),
        key=lambda a: (a.priority, a.expires_at is None, a.expires_at or now, a.id),
    )
    live = [a for a in rows if a.expires_at is None or a.expires_at > now or a.held > 0]
    spendable = [a for a in live if a.expires_at is None or a.expires_at > now]
    return Balance(
        posted=sum(a.posted for a in live),
        held=sum(a.held for a in live),
        available=sum(a.posted - a.held + a.credit_limit for a in spendable),
        credits=tuple(Credit(a.id, a.kind, a.name, a.posted, a.held, a.expires_at) for a in live),
        currency=currency,
    )
