"""What a team has: posted, held, available, credit by credit, in the order they are spent."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from marketplace.ledger.models import Account
from marketplace.money import Money

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Credit:
    """One account of a team; amounts in nano-units. scope: labs and models, empty for all."""

    account_id: int
    kind: str
    name: str
    posted: int
    held: int
    priority: int
    scope: tuple[str, ...]
    funder: str
    expires_at: datetime | None
    spendable: bool
    credit_limit: int = 0

    @property
    def available(self) -> int:
        return self.posted - self.held

    def as_json(self, currency: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "available": Money(self.available, currency).as_json(),
            "held": Money(self.held, currency).as_json(),
            "priority": self.priority,
            "scope": list(self.scope),
            "funder": self.funder or None,
            "expires_at": self.expires_at,
        }


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
            "credits": [credit.as_json(self.currency) for credit in self.credits]
        }


def balance(team_id: UUID, currency: str = "USD", model: str | None = None) -> Balance:
    """One query. Credits come in the order in which they are spent.

    With `model` (`lab/model`) it is the order of a run of that model, of what it can spend.
    """
    now = timezone.now()
    accounts = Account.objects.filter(team_id=team_id, currency=currency)
    live = [c for c in (seen(a, now) for a in accounts) if c.spendable or c.held > 0]
    credits = burn_order(live, model)
    return Balance(
        posted=sum(c.posted for c in credits),
        held=sum(c.held for c in credits),
        available=sum(c.available + c.credit_limit for c in credits if c.spendable),
        credits=credits,
        currency=currency,
    )


def seen(account: Account, now: datetime) -> Credit:
    return Credit(
        account_id=account.id,
        kind=account.kind,
        name=account.name,
        posted=account.posted,
        held=account.held,
        priority=account.priority,
        scope=tuple(account.scope),
        funder=account.funder,
        expires_at=account.expires_at,
        spendable=account.expires_at is None or account.expires_at > now,
        credit_limit=account.credit_limit,
    )


def burn_order(credits: Iterable[Credit], model: str | None) -> tuple[Credit, ...]:
    """Scope match, priority, earliest expiry, oldest; the same rule as in `hold.sql`.

    Without a model each credit stands where the models that it fits best would spend it.
    """
    ranked = [(fit(credit.scope, model), credit) for credit in credits]
    usable = [(rank, credit) for rank, credit in ranked if rank is not None]
    usable.sort(key=lambda r: (r[0], r[1].priority, r[1].expires_at or NEVER, r[1].account_id))
    return tuple(credit for _, credit in usable)


def fit(scope: tuple[str, ...], model: str | None) -> int | None:
    """0: the scope names the model, 1: its lab, 2: everything; None: not for this model."""
    if not scope:
        return 2
    if model is None:
        return 0 if any("/" in part for part in scope) else 1
    if model in scope:
        return 0
    return 1 if model.partition("/")[0] in scope else None
