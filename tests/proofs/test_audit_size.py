"""The audit, the fold and a planted nano over a ledger of a million entries."""

import os
import time

import pytest
from django.db import connection

from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.ledger.check import audit
from marketplace.ledger.fold import fold
from marketplace.ledger.models import Entry
from marketplace.ledger.transfer import grant_credit
from tests.conftest import GUARDS, Person
from tests.marketplace.supply import admit
from tests.proofs import figures

RUNS = int(os.environ.get("PROOF_ENTRIES", "1000000")) // 4
TEAMS = 1_000

pytestmark = [pytest.mark.proofs, pytest.mark.django_db(transaction=True)]

# Each run is charged 1,000: 600 to a lab, 100 to a holder, the rest to its model's revenue.
BOOKS = """
CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT gen_random_uuid() AS run, a.team_id AS team, a.id AS account, n,
       row_number() OVER (PARTITION BY a.id ORDER BY n) AS turn
  FROM generate_series(0, {runs} - 1) AS n
  JOIN (SELECT id, team_id, row_number() OVER (ORDER BY id) - 1 AS place
          FROM ledger_account WHERE name = 'Large') a ON a.place = n % {teams};
INSERT INTO runs_run
SELECT (jsonb_populate_record(r, jsonb_build_object('id', m.run, 'team_id', m.team, 'key_id', NULL,
           'state', 'succeeded', 'outcome', 'succeeded', 'finished_at', now()))).*
  FROM made m, runs_run r WHERE r.id = '{template}';
INSERT INTO ledger_hold (run_id, team_id, currency, quoted, amount, captured, state, price_id,
                         available_before, created_at, closed_at, closed_xid)
SELECT m.run, m.team, 'USD', 1500, 1200, 1000, 'captured', r.price_id, 1, now(), now(),
       pg_current_xact_id()
  FROM made m, runs_run r WHERE r.id = '{template}';
INSERT INTO ledger_holdpart (hold_id, account_id, position, amount, captured)
SELECT run, account, 0, 1200, 1000 FROM made;
INSERT INTO ledger_transfer (kind, reference, run_id, price_id, note, event_at)
SELECT 'charge', 'charge:' || run, run, 1, '', now() FROM made;
INSERT INTO ledger_entry (transfer_id, account_id, amount, balance_after)
SELECT t.id, e.account, e.amount, e.after
  FROM made m JOIN ledger_transfer t ON t.run_id = m.run,
       LATERAL (VALUES (m.account, -1000, 1000000000 - 1000 * m.turn),
                       (system_account('lab:' || m.n % 40, 'USD'), 600, NULL),
                       (system_account('holder:' || m.n % 100, 'USD'), 100, NULL),
                       (system_account('revenue:' || m.n % 200, 'USD'), 300, NULL))
               AS e(account, amount, after);
UPDATE ledger_account a SET posted = a.posted - 1000 * c.runs
  FROM (SELECT account, count(*) AS runs FROM made GROUP BY 1) c WHERE a.id = c.account;
"""


def test_a_million_entries_are_audited_in_seconds(ada: Person, still: Release) -> None:
    template = admit(ada)
    teams = Team.objects.bulk_create(Team(name=f"T{n}") for n in range(TEAMS))
    for team in teams:
        grant_credit(team=team, amount=10**9, name="Large", reference=str(team.id), expires_at=None)
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(BOOKS.format(runs=RUNS, teams=TEAMS, template=template))
        cursor.execute("COMMIT")
        cursor.execute("VACUUM ANALYZE")
    entries = Entry.objects.count()
    assert entries >= 4 * RUNS
    begun = time.monotonic()
    folded = fold()
    first = time.monotonic() - begun
    assert folded == 3 * RUNS + TEAMS + 1
    begun = time.monotonic()
    assert fold() == 0
    again = time.monotonic() - begun
    done = audit()
    assert [f["sentence"] for f in done.findings if f["count"]] == []
    for finding in sorted(done.findings, key=lambda f: -f["seconds"]):
        print(f"{finding['seconds']:7.3f} s  {finding['sentence']}")
    with connection.cursor() as cursor:
        cursor.execute(GUARDS.format("DISABLE"))
        cursor.execute(
            "UPDATE ledger_entry SET amount = amount + 1 WHERE id ="
            " (SELECT id FROM ledger_entry WHERE balance_after IS NULL OFFSET %s LIMIT 1)",
            [RUNS],
        )
        cursor.execute(GUARDS.format("ENABLE"))
    assert sorted(f["sentence"] for f in audit().findings if f["count"]) == [
        "a system account's posted is the sum of its folded entries",
        "every transfer sums to 0 per currency",
    ]
    figures.keep(
        "audit of a large ledger: every invariant, then a planted nano found",
        {
            "entries": entries,
            "invariants": len(done.findings),
            "seconds": round(done.seconds, 2),
            "slowest, seconds": round(max(f["seconds"] for f in done.findings), 2),
            "first fold of all, seconds": round(first, 2),
            "fold with nothing new, seconds": round(again, 4),
        },
    )
