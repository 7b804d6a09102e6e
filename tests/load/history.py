"""Years of history in minutes: runs, holds, meter events and charges by generate_series.

The rows are as settlement leaves them; foreign keys and secondary indexes are dropped first, and
the indexes made again afterwards. For a throw-away database only.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

DAYS = 365
SHARE = 50  # every fiftieth run is the large team's
MIDDLE = 1_000  # runs of the team that is asked for its usage beside it
FAST = """SET synchronous_commit = off; SET work_mem = '256MB'; SET maintenance_work_mem = '1GB';
          SET max_parallel_maintenance_workers = 2"""
TABLES = (
    "runs_run", "ledger_hold", "ledger_holdpart", "metering_meterevent", "ledger_transfer",
    "ledger_entry",
)  # fmt: skip
KEYS_SQL = """SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname)
                FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass"""
INDEXES_SQL = """SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i
                  WHERE indrelid = %s::regclass AND NOT indisprimary
                    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)"""
SHOP_SQL = """
CREATE TABLE load_price AS
SELECT row_number() OVER () - 1 AS place, p.id AS price_id, p.release_id
  FROM metering_price p JOIN catalog_release r ON r.id = p.release_id
  JOIN catalog_model m ON m.id = r.model_id WHERE m.slug LIKE 'load-%%';
CREATE TABLE load_team AS
SELECT row_number() OVER (ORDER BY t.id) - 1 AS place, t.id AS team_id, k.id AS key_id,
       (SELECT min(a.id) FROM ledger_account a WHERE a.team_id = t.id) AS account_id
  FROM accounts_team t JOIN accounts_apikey k ON k.team_id = t.id WHERE t.name = 'Load';
ANALYZE load_price; ANALYZE load_team
"""
# n → team, key, price, instant. The large team uses five keys, three projects and 40 models.
PLAN_SQL = f"""
CREATE UNLOGGED TABLE load_run AS
SELECT s.*, p.price_id, p.release_id, 1000000 + s.n %% 977 * 1009 AS amount,
       CASE WHEN s.n %% 20 = 0 THEN 0 ELSE 800000 + s.n %% 977 * 1009 END AS captured
  FROM (
    SELECT n, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
               || lpad(to_hex(n & 4095), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid AS id,
           at, large, middle,
           CASE WHEN large THEN %(large)s::uuid WHEN middle THEN %(middle)s::uuid
                ELSE t.team_id END AS team_id,
           CASE WHEN large THEN (%(keys)s::uuid[])[n / %(share)s %% 5 + 1]
                WHEN middle THEN NULL ELSE t.key_id END AS key_id,
           CASE WHEN large OR middle THEN %(account)s ELSE t.account_id END AS account_id,
           CASE WHEN large THEN (ARRAY['', 'film', 'shop'])[n / %(share)s %% 3 + 1]
                ELSE '' END AS project,
           CASE WHEN large THEN (hashint8(n) & 1073741823) %% 40
                WHEN middle THEN n %% 7 ELSE t.place + (hashint8(n) & 1073741823) %% 3 END AS sold
      FROM (SELECT n, n %% %(share)s = 0 AS large,
                   n %% greatest(%(runs)s / %(few)s, 2) = 1 AS middle,
                   now() - (%(runs)s - n)::float8 / %(runs)s * interval '{DAYS} d' AS at
              FROM generate_series(1, %(runs)s::bigint) n) n
      LEFT JOIN load_team t ON t.place = n.n %% (SELECT count(*) FROM load_team)) s
  LEFT JOIN load_price p ON p.place = s.sold %% (SELECT count(*) FROM load_price)
"""
FILL_SQL = {
    "runs_run": {
        "id": "id", "team_id": "team_id", "key_id": "key_id", "release_id": "release_id",
        "price_id": "price_id", "created_at": "at", "started_at": "at + interval '1 s'",
        "finished_at": "at + interval '3 s'", "project": "project", "queue": "'labs'",
        "state": "CASE WHEN captured > 0 THEN 'succeeded' ELSE 'failed' END",
        "outcome": "CASE WHEN captured > 0 THEN 'succeeded' ELSE 'supplier_error' END",
        "inputs": """jsonb_build_object('prompt', 'a quiet harbour at dusk, number ' || n,
                                        'size', '1024x1024', 'count', 4)""",
        "inputs_digest": "decode(md5(n::text), 'hex')", "attempt": "1",
        "route": """'{"supplier": "rehearsal", "reason": "waiting"}'::jsonb""",
    },
    "ledger_hold": {
        "run_id": "id", "team_id": "team_id", "currency": "'USD'", "quoted": "amount",
        "amount": "amount", "captured": "captured", "price_id": "price_id",
        "state": "CASE WHEN captured > 0 THEN 'captured' ELSE 'voided' END",
        "available_before": "1000000000000", "created_at": "at",
        "closed_at": "at + interval '3 s'", "closed_xid": "pg_current_xact_id()",
    },
    "ledger_holdpart": {
        "hold_id": "id", "account_id": "account_id", "position": "0", "amount": "amount",
        "captured": "captured",
    },
    "metering_meterevent": {
        "identifier": "id || ':image'", "run_id": "id", "team_id": "team_id",
        "release_id": "release_id", "unit": "'image'",
        "quantity": "CASE WHEN captured > 0 THEN 4 ELSE 0 END", "requested": "4", "measured": "4",
        "reported": "4", "timestamp": "at + interval '3 s'",
    },
    "ledger_transfer": {
        "id": "n + 1000000", "kind": "'charge'", "reference": "'charge:' || id", "run_id": "id",
        "price_id": "price_id", "event_at": "at + interval '3 s'",
    },
    "ledger_entry": {
        "transfer_id": "n + 1000000", "account_id": "side.account",
        "amount": "side.sign * captured", "balance_after": "nullif(side.sign, 1) * -5000000000",
    },
}  # fmt: skip
WHERE = {"ledger_transfer": "WHERE captured > 0", "ledger_entry": "WHERE captured > 0"}


@dataclass(frozen=True)
class Teams:
    """The large team with its keys and the middle one; account: whose money both spend here."""

    large: str
    middle: str
    keys: list[str]
    account: int


def shop(connection: psycopg.Connection, models: int) -> None:
    """Models with a release and a price each, and the tables that the plan draws from."""
    for table, changed, first, source in (
        ("catalog_model", "'slug', 'load-' || g.id, 'name', 'Load ' || g.id", "id",
         f"generate_series(1, {models}) g(id)"),
        ("catalog_release", "'model_id', g.id", "id",
         "(SELECT id FROM catalog_model WHERE slug LIKE 'load-%') g"),
        ("metering_price", "'release_id', g.id, 'digest', ''", "lines -> 0 ->> 'unit' <> 'image'",
         """(SELECT r.id FROM catalog_release r JOIN catalog_model m ON m.id = r.model_id
              WHERE m.slug LIKE 'load-%') g"""),
    ):  # fmt: skip
        connection.execute(
            f"""INSERT INTO {table} SELECT made.* FROM {source}, LATERAL jsonb_populate_record(
                (SELECT t FROM {table} t ORDER BY {first} LIMIT 1), jsonb_build_object('id',
                nextval(pg_get_serial_sequence('{table}', 'id')), {changed})) made"""
        )
    connection.execute(
        """INSERT INTO accounts_apikey (id, team_id, name, prefix, digest, scopes, created_at)
           SELECT gen_random_uuid(), t.id, 'Load', 'kin_live_load', sha256(t.id::text::bytea),
                  '["read"]', now() FROM accounts_team t WHERE t.name = 'Load'"""
    )
    connection.execute(SHOP_SQL.replace("%%", "%"))
    connection.commit()


def write(connection: psycopg.Connection, teams: Teams, runs: int, say: Callable[..., Any]) -> None:
    """Make `runs` runs with all that belongs to them, over the last year."""
    connection.commit()
    connection.execute(FAST)
    made = [again for table in TABLES for again in stripped(connection, table)]
    values = {"large": teams.large, "middle": teams.middle, "keys": teams.keys, "runs": runs,
              "account": teams.account, "share": SHARE, "few": MIDDLE}  # fmt: skip
    timed(say, "plan", lambda: psycopg.ClientCursor(connection).execute(PLAN_SQL, values))
    revenue = connection.execute("SELECT system_account('revenue:load', 'USD')").fetchone()
    assert revenue
    for table in TABLES:
        sql = filling(connection, table, int(revenue[0]))
        timed(say, table, lambda sql=sql: connection.execute(sql))
        connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    connection.commit()
    for definition in made:
        timed(say, definition[:80], lambda text=definition: connection.execute(text))
    connection.execute("DROP TABLE load_run")
    connection.execute("SELECT setval(pg_get_serial_sequence('ledger_transfer', 'id'), %s)",
                       [runs + 2_000_000])  # fmt: skip
    connection.commit()
    connection.autocommit = True
    timed(say, "VACUUM ANALYZE", lambda: connection.execute("VACUUM (ANALYZE)"))
    connection.autocommit = False


def stripped(connection: psycopg.Connection, table: str) -> list[str]:
    """Drop a table's foreign keys and secondary indexes; what makes the indexes again."""
    connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for (drop,) in connection.execute(KEYS_SQL, [table]).fetchall():
        connection.execute(drop)
    found = connection.execute(INDEXES_SQL, [table]).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    connection.commit()
    return [definition for _, definition in found]


def filling(connection: psycopg.Connection, table: str, revenue: int) -> str:
    """INSERT … SELECT of what is known; other columns that must have something get an empty one."""
    known = FILL_SQL[table] | {
        name: {"jsonb": "'[]'", "smallint": "0", "integer": "0", "bigint": "0"}.get(kind, "''")
        for name, kind in connection.execute(
            """SELECT column_name, data_type FROM information_schema.columns
                WHERE table_name = %s AND is_nullable = 'NO' AND column_default IS NULL
                  AND is_identity = 'NO'""",
            [table],
        )
        if name not in FILL_SQL[table]
    }
    sides = f", LATERAL (VALUES (account_id, -1), ({revenue}, 1)) side(account, sign)"
    identity = "OVERRIDING SYSTEM VALUE" if "id" in known and table == "ledger_transfer" else ""
    return (
        f"INSERT INTO {table} ({', '.join(known)}) {identity} SELECT {', '.join(known.values())}"
        f" FROM load_run{sides if table == 'ledger_entry' else ''}"
        f" {WHERE.get(table, '')} ORDER BY n"
    )


def timed(say: Callable[..., Any], what: str, work: Callable[[], Any]) -> None:
    start = time.monotonic()
    work()
    say(f"{time.monotonic() - start:7.1f} s  {what}")
