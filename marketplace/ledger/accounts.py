"""The chart of accounts: a team's own, and the system's by name.

System accounts get entries only; nothing on a request path updates their rows.
"""

from functools import cache

from django.db import connection

from marketplace.accounts.models import Team
from marketplace.ledger.models import Account


@cache
def system_account(name: str, currency: str = "USD") -> int:
    """The id of a system account such as `revenue:kinora/glyph`, made on first use."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT system_account(%s, %s)", [name, currency])
        return int(cursor.fetchone()[0])


def revenue_account(model: str, currency: str = "USD") -> int:
    """Where the captured money of a model goes."""
    return system_account(f"revenue:{model}", currency)


def open_prepaid(*, team: Team, currency: str = "USD") -> Account:
    """Give a team its prepaid account, at 0. Repeats safely."""
    account, _ = Account.objects.get_or_create(
        team=team, kind=Account.Kind.PREPAID, currency=currency, defaults={"name": "Prepaid"}
    )
    return account
