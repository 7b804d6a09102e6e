"""A team's ledger lines over several credits, in one order, page by page."""

import pytest
from django.db import connection

from marketplace.accounts.models import Team
from marketplace.ledger.lines import NEWEST_SQL, newest_entries
from marketplace.ledger.models import Entry
from marketplace.ledger.transfer import grant_credit

pytestmark = pytest.mark.django_db


def credited(name: str, credits: int) -> Team:
    team = Team.objects.create(name=name)
    for number in range(credits):
        grant_credit(team=team, amount=100 + number, name=f"{name} {number}",
                     reference=f"{name}:{number}", expires_at=None)  # fmt: skip
    return team


def test_pages_of_several_credits_meet_without_gap_or_repeat() -> None:
    ada = credited("Ada", 5)
    credited("Cy", 3)
    first = newest_entries(ada.id, limit=2)
    second = newest_entries(ada.id, before=first[-1].id, limit=2)
    last = newest_entries(ada.id, before=second[-1].id, limit=2)
    assert [entry.amount for entry in first + second + last] == [104, 103, 102, 101, 100]
    assert {entry.account.team_id for entry in first} == {ada.id}
    assert newest_entries(ada.id, before=last[-1].id, limit=2) == []


def test_a_team_with_nothing_has_no_lines() -> None:
    credited("Cy", 1)
    assert newest_entries(Team.objects.create(name="Ada").id, limit=10) == []


def test_no_more_of_an_account_is_read_than_is_shown() -> None:
    """Millions of entries of one account must not be sorted for fifty."""
    ada = credited("Ada", 1)
    [entry] = Entry.objects.filter(account__team=ada)
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
               SELECT %s, %s, CASE n %% 2 WHEN 0 THEN 1 ELSE -1 END, 0
                 FROM generate_series(1, 4000) n""",
            [entry.transfer_id, entry.account_id],
        )
        cursor.execute("ANALYZE ledger_entry, ledger_account")
        values = [1 << 62, 10, ada.id, 10]
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + NEWEST_SQL, values)
        [plan] = cursor.fetchone()[0]
    assert most_rows(plan["Plan"]) <= 10


def most_rows(plan: dict[str, object]) -> float:
    """The most rows that any step of an executed plan gave."""
    steps: list[dict[str, object]] = plan.get("Plans", [])  # type: ignore[assignment]
    return max([float(str(plan["Actual Rows"])), *map(most_rows, steps)])
