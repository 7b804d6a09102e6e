"""Put credits into a team's account; move expired ones out. The SQL is `transfer.sql`."""

from datetime import datetime

from django.db import connection

from marketplace.accounts.models import Team

PROMO_PRIORITY = 10  # spent before prepaid money


def grant_credit(
    *,
    team: Team,
    amount: int,
    name: str,
    reference: str,
    expires_at: datetime | None,
    note: str = "",
    currency: str = "USD",
) -> int:
    """Give `team` a promotional credit of `amount` nano-units and return its account's id.

    Paid from the system account `promo_funding`. Repeats safely: the same `reference` gives the
    account made first. Runs inside the caller's transaction.
    """
    if amount <= 0:
        raise ValueError("a credit is more than 0")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT grant_money(%s, %s, 'promo', %s, 'promo_funding', %s, %s, %s::smallint, %s,"
            " %s)",
            [reference, team.id, name, currency, amount, PROMO_PRIORITY, expires_at, note],
        )
        return int(cursor.fetchone()[0])


def expire_credits() -> int:
    """Move what is left of expired credits to `breakage`. Repeats safely; gives how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT expire_credits()")
        return int(cursor.fetchone()[0])
