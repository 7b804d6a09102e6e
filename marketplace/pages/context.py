"""What every template may say: the present team and what it can spend."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from marketplace.accounts.models import Team
from marketplace.ledger.balance import balance
from marketplace.pages.team import memberships, scopes, session_team

SECTIONS = (
    ("models", "Models"),
    ("runs", "Runs"),
    ("usage", "Usage"),
    ("budgets", "Budgets"),
    ("balance", "Balance"),
    ("webhooks", "Webhooks"),
    ("keys", "Keys"),
)


def named(team: Team) -> tuple[str, str]:
    """Teams in the order of their names; of two that are alike the older first."""
    return team.name.casefold(), str(team.id)


def site(request: HttpRequest) -> dict[str, Any]:
    """The balance is asked for only where a template shows it."""
    team = session_team(request) if hasattr(request, "user") else None
    return {
        "team": team,
        "teams": sorted((m.team for m in memberships(request)), key=named) if team else [],
        "may": scopes(request) if team else (),
        "site_url": settings.SITE_URL,
        "welcome": settings.WELCOME_CREDIT_NANO,
        "spendable": lambda: balance(team.id).available if team else 0,
        "sections": SECTIONS if team else SECTIONS[:1],
        "section": request.path.strip("/").partition("/")[0],
    }
