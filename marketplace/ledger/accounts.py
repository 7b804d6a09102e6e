"""The chart of accounts: a team's own, and the system's by name.

System accounts are made on first use by the SQL functions, get entries only, and no request path
updates their rows.
"""

from marketplace.accounts.models import Team
from marketplace.ledger.models import Account


def revenue_account(model: str) -> str:
    """Where the captured money of a model goes."""
    return f"revenue:{model}"


def funding_account(funder: str) -> str:
    """Where promotional credits come from that `kinora` or a lab gives."""
    return f"promo_funding:{funder}"


def cogs_account(model: str) -> str:
    """What the runs of a model cost us."""
    return f"cogs:{model}"


def payable_account(lab: str) -> str:
    """What we owe a lab by its tariffs."""
    return f"lab_payable:{lab}"


def pool_account(queue: str) -> str:
    """What a pool of our own has earned at its cost per second."""
    return f"pool:{queue}"


def open_prepaid(*, team: Team, currency: str = "USD") -> Account:
    """Give a team its prepaid account, at 0. Repeats safely."""
    account, _ = Account.objects.get_or_create(
        team=team, kind=Account.Kind.PREPAID, currency=currency, defaults={"name": "Prepaid"}
    )
    return account
