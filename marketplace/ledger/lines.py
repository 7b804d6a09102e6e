"""A team's side of every transfer, newest first, as soon with millions of entries as with ten."""

from uuid import UUID

from django.db import connection

from marketplace.ledger.models import Entry

LATEST = (1 << 63) - 1
# No index has the entries of a team in order, but one has those of an account, and these are few.
NEWEST_SQL = """
SELECT e.id FROM ledger_account a
 CROSS JOIN LATERAL (
       SELECT n.id FROM ledger_entry n WHERE n.account_id = a.id AND n.id < %s
        ORDER BY n.id DESC LIMIT %s) e
 WHERE a.team_id = %s ORDER BY e.id DESC LIMIT %s
"""


def newest_entries(team_id: UUID, *, before: int | None = None, limit: int) -> list[Entry]:
    """Up to `limit` entries with their transfers and accounts. before: an entry's id."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST_SQL, [LATEST if before is None else before, limit, team_id, limit])
        found = [row[0] for row in cursor.fetchall()]
    entries = Entry.objects.filter(id__in=found).select_related("transfer", "account")
    return list(entries.order_by("-id"))
