"""A gate after every statement of every PL/pgSQL function: where a backend can be killed.

The functions' own texts get `ASSERT proof_gate('name:line')` behind each statement (an assertion
leaves FOUND and ROW_COUNT as they are), and a deferred trigger is a gate inside COMMIT. A session
counts the gates that it passes; at the one it was told to stop at it waits for a lock, so that
another session can kill it there.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db import connection

from marketplace import sql

LOCK = 20_261_120
FUNCTION = re.compile(
    r"^CREATE OR REPLACE FUNCTION (\w+)\((?:(?!^CREATE ).)*?LANGUAGE plpgsql AS \$\$\n"
    r"((?:DECLARE\n.*?)?)^BEGIN\n(.*?)^END \$\$;",
    re.MULTILINE | re.DOTALL,
)
# Nothing follows these in the same block.
LEAVES = re.compile(r"\b(RETURN(?!\s+(NEXT|QUERY))|CONTINUE|RAISE EXCEPTION)\b[^;]*$")
GATE = f"""
CREATE OR REPLACE FUNCTION proof_gate(label text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    passed int := coalesce(nullif(current_setting('proof.passed', true), ''), '0')::int + 1;
BEGIN
    PERFORM set_config('proof.passed', passed::text, false);
    IF current_setting('proof.trace', true) = 'on' THEN
        RAISE NOTICE '%', label;
    END IF;
    IF passed::text = current_setting('proof.stop', true) THEN
        PERFORM pg_advisory_lock({LOCK});
    END IF;
    RETURN true;
END $$;
CREATE OR REPLACE FUNCTION proof_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    ASSERT proof_gate('COMMIT:' || TG_TABLE_NAME);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS proof_commit ON ledger_hold;
DROP TRIGGER IF EXISTS proof_commit ON ledger_transfer;
CREATE CONSTRAINT TRIGGER proof_commit AFTER INSERT OR UPDATE ON ledger_hold
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION proof_commit();
CREATE CONSTRAINT TRIGGER proof_commit AFTER INSERT ON ledger_transfer
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION proof_commit();
"""
UNDO = """
DROP TRIGGER proof_commit ON ledger_hold;
DROP TRIGGER proof_commit ON ledger_transfer;
DROP FUNCTION proof_commit();
DROP FUNCTION proof_gate(text);
COMMENT ON TABLE runs_run IS '';
"""


def gated(name: str, body: str) -> tuple[str, list[str]]:
    """The body with a gate behind each statement, and their labels."""
    out, labels, depth, begun, place = [], [], 0, 0, 0
    for token in re.finditer(r"--[^\n]*|'(?:[^']|'')*'|[();]", body):
        text = token.group()
        depth += (text == "(") - (text == ")")
        if text != ";" or depth:
            continue
        out.append(body[place : token.end()])
        place = token.end()
        statement = re.sub(r"--[^\n]*", "", body[begun : token.start()])
        begun = token.end()
        if not LEAVES.search(statement):
            labels.append(f"{name}:{body[: token.start()].count(chr(10)) + 1}")
            out.append(f" ASSERT proof_gate('{labels[-1]}');")
    return "".join([*out, body[place:]]), labels


@contextmanager
def installed() -> Iterator[set[str]]:
    """The database's functions with gates; gives every label. Puts the plain ones back."""
    labels: set[str] = set()
    with connection.cursor() as cursor:
        cursor.execute(GATE)
        for match in FUNCTION.finditer("\n".join(sql.texts())):
            name, _, body = match.groups()
            changed, found = gated(name, body)
            labels |= {*found, f"{name}:0"}
            head = match.group()[: match.start(3) - match.start()]
            first = f" ASSERT proof_gate('{name}:0');\n"
            cursor.execute(head + first + changed + "END $$;")
    try:
        yield labels
    finally:
        with connection.cursor() as cursor:
            cursor.execute(UNDO)
        sql.install()


def session() -> "psycopg.Connection[Any]":
    known = connection.get_connection_params()
    return psycopg.connect(**{name: known[name] for name in ("dbname", "user", "password", "host")})


def traced(call: tuple[str, list[Any]]) -> tuple[list[tuple[Any, ...]], list[str]]:
    """What a call gives and the gates that it passes before its commit, in order; then undone."""
    passed: list[str] = []
    with session() as session_:
        session_.add_notice_handler(lambda note: passed.append(note.message_primary or ""))
        session_.execute("SET proof.trace = 'on'")
        found = session_.execute(*call).fetchall()
        session_.rollback()
    return found, passed


def killed_at(gate: int, call: tuple[str, list[Any]], killer: "psycopg.Connection[Any]") -> bool:
    """Make the call in a backend that is killed at its `gate`th gate; whether it was."""
    with session() as victim:
        pid = victim.info.backend_pid
        victim.execute("SELECT set_config('proof.stop', %s, false)", [str(gate)])
        victim.commit()
        work = threading.Thread(target=interrupted, args=(victim, call))
        work.start()
        died = False
        while work.is_alive():
            if stands(killer, pid):
                died = True
                killer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                break
            time.sleep(0.001)
        work.join()
    return died


def interrupted(victim: "psycopg.Connection[Any]", call: tuple[str, list[Any]]) -> None:
    with suppress(psycopg.OperationalError):
        victim.execute(*call)
        victim.commit()


def stands(killer: "psycopg.Connection[Any]", pid: int) -> bool:
    """Whether the backend waits at its gate."""
    found = killer.execute(
        "SELECT 1 FROM pg_locks WHERE pid = %s AND locktype = 'advisory' AND NOT granted", [pid]
    )
    return found.fetchone() is not None
