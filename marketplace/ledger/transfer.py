"""Promotional credits: granted by us or by a lab, for everything or for some models, taken back.

A credit is an account of its team; which one a run spends first is `hold.sql`'s to decide and
`balance.py`'s to show. The SQL is `transfer.sql`.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from marketplace.accounts.models import Team
from marketplace.errors import IdempotencyConflict, InvalidInput, NotFound
from marketplace.ledger.accounts import funding_account
from marketplace.ledger.models import Account, Entry
from marketplace.money import Money

PROMO_PRIORITY = 10  # spent before prepaid money
KINORA = "kinora"
SLUG = re.compile(r"[A-Za-z0-9_-]{1,50}")
SCOPE = re.compile(rf"{SLUG.pattern}(/{SLUG.pattern})?")


@transaction.atomic
def grant_credit(
    *,
    team: Team,
    amount: int,
    name: str,
    reference: str,
    expires_at: datetime | None,
    note: str = "",
    currency: str = "USD",
    scope: Sequence[str] = (),
    funder: str = KINORA,
    priority: int = PROMO_PRIORITY,
) -> int:
    """Give `team` a promotional credit of `amount` nano-units and return its account's id.

    scope: labs and `lab/model`s that it may be spent on; empty for all. funder: `kinora` or a
    lab's slug; its system account `promo_funding:<funder>` pays. Repeats safely: the same
    `reference` gives the account made first. Raises InvalidInput, and IdempotencyConflict where
    the reference stands for something else.
    """
    scope = sorted(set(scope))
    checked(amount, name, reference, scope, funder, priority)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT grant_money(%s, %s, 'promo', %s, %s, %s, %s, %s::smallint, %s, %s, %s::jsonb,"
            " %s)",
            [
                *(reference, team.id, name, funding_account(funder), currency, amount),
                *(priority, expires_at, note, json.dumps(scope), funder),
            ],
        )
        account = Account.objects.get(id=cursor.fetchone()[0])
    granted = Entry.objects.get(account=account, transfer__reference=reference).amount
    there = (account.team_id, granted, account.currency, account.scope, account.funder)
    if there != (team.id, amount, currency, scope, funder):
        raise IdempotencyConflict(
            f"The reference {reference} stands for another transfer.", param="reference"
        )
    return account.id


def checked(
    amount: int, name: str, reference: str, scope: Sequence[str], funder: str, priority: int
) -> None:
    """Raises InvalidInput for what no credit can be."""
    if amount <= 0:
        raise InvalidInput("A credit is more than 0.", param="amount")
    if not 0 < len(name) <= 80:
        raise InvalidInput("A credit's name has from 1 to 80 characters.", param="name")
    if not 0 < len(reference) <= 120:
        raise InvalidInput("A reference has from 1 to 120 characters.", param="reference")
    if not 0 <= priority <= 32_767:
        raise InvalidInput("A priority is from 0 to 32767; lower is spent first.", param="priority")
    if not SLUG.fullmatch(funder):
        raise InvalidInput(f"The funder is {KINORA} or the slug of a lab.", param="funder")
    for part in scope:
        if not SCOPE.fullmatch(part):
            raise InvalidInput(f"A scope is `lab` or `lab/model`, not `{part}`.", param="scope")


def void_credit(*, reference: str, note: str = "Credit taken back") -> Money:
    """Take back what is unspent of the credit granted under `reference`; gives how much.

    Nothing of it can be spent from then on; what runs hold of it follows once they end. Repeats
    safely: 0 where it was taken back, spent or expired before. Raises NotFound.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT taken, currency FROM void_credit(%s, %s)", [reference, note])
        found = cursor.fetchone()
    if found is None:
        raise NotFound(f"No credit was granted under the reference {reference}.")
    return Money(*found)


def expire_credits() -> int:
    """Move what is left of expired credits to `breakage`. Repeats safely; gives how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT expire_credits()")
        return int(cursor.fetchone()[0])
