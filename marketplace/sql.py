"""Install the `.sql` files that live beside the rooms: functions, triggers, what ORM cannot say.

They are code, not history: after every `migrate` the database has the files' present text. A
digest on a table says which text it has, so that nothing is done twice.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from django.db import connection, transaction

HERE = Path(__file__).resolve().parent
ROOMS = ("ledger", "metering", "media", "access", "webhooks", "payouts", "runs")  # as they import
DEFINED = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)\(", re.MULTILINE)
# Functions that touch a few rows by their keys for each run. A connection keeps their plans, also
# those that it made while the tables were small: by index from the first run on.
BY_KEY = (
    "hold_from", "lock_accounts", "close_holds", "book_costs", "system_account", "entries_balance",
    "spendings_follow", "enter_budgets", "hold_within_budgets", "hold_one_by_one", "admit_runs",
    "claim_runs", "report_run", "settle_runs", "cancel_run", "tell_runs", "keep_file",
    "open_session", "witness_sessions", "extend_session", "extend_hold", "close_session",
    "take_deliveries", "record_deliveries",
)  # fmt: skip
PLANNING = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
# The same for connections that ask for nothing else, and for the checks of foreign keys there.
BY_KEY_OPTIONS = "-c enable_seqscan=off -c plan_cache_mode=force_generic_plan"
MARKED = "SELECT to_regclass('runs_run'), obj_description(to_regclass('runs_run'))"
# What a function gives cannot be replaced, so it is dropped; triggers hold on to theirs.
DROP_SQL = """
DO $$ DECLARE old regprocedure; BEGIN
    FOR old IN SELECT oid FROM pg_proc WHERE proname = ANY ({names}) AND prokind = 'f'
                  AND pronamespace = current_schema()::regnamespace
                  AND prorettype <> 'trigger'::regtype
    LOOP EXECUTE 'DROP FUNCTION ' || old; END LOOP; END $$"""


def texts() -> list[str]:
    """Every room's files, guards first."""
    return [
        file.read_text()
        for room in ROOMS
        for file in sorted((HERE / room).glob("*.sql"), key=lambda f: (f.stem != "guards", f.stem))
    ]


def by_key() -> list[str]:
    """How `BY_KEY` are planned, as statements."""
    return [f"ALTER FUNCTION {name} SET {knob} = off;" for name in BY_KEY for knob in PLANNING]


def install(**_signal: Any) -> None:
    """Bring the database to the files' present text, in one commit. Repeats safely."""
    whole = "\n".join([*texts(), *by_key()])
    mark = f"sql {hashlib.sha256(whole.encode()).hexdigest()}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(MARKED)
        last_table, marked = cursor.fetchone()
        if last_table is None or marked == mark:
            return
        names = "', '".join(DEFINED.findall(whole))
        cursor.execute(DROP_SQL.format(names=f"ARRAY['{names}']"))
        cursor.execute(whole)
        cursor.execute(f"COMMENT ON TABLE runs_run IS '{mark}'")
