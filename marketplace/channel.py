"""PostgreSQL beside Django's own connections: where it is, and what it notifies.

A notification is a hint: losing one costs its hearer a tick and nothing else, so a pooler that
cannot LISTEN, or a connection that is cut off, is no fault. Knows nothing of runs.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from django.db import connection as django_connection
from psycopg import AsyncConnection, Error

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds before it listens again
# A machine that is gone without a word is noticed after 30 s, not after the system's two hours.
NOTICING = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


def where(name: str, statement_ms: int = 0, options: str = "") -> dict[str, Any]:
    """Django's own database, as libpq names it. name: of the connection, for people who look;
    statement_ms: the longest that a statement may take, 0 for any; options: further ones."""
    known = django_connection.settings_dict
    return {
        "dbname": known["NAME"],
        "user": known["USER"],
        "password": known["PASSWORD"],
        "host": known["HOST"],
        "port": known["PORT"],
        "connect_timeout": 3,
        "application_name": f"kinora-{name}",
        "options": f"-c timezone=UTC -c statement_timeout={statement_ms} {options}",
        **NOTICING,
    }


async def listen(channel: str, told: Callable[[str], None], *, name: str) -> None:
    """Call `told` with what each notification brings, for ever; cancel it to end it.

    Also once with nothing whenever it begins to listen, for what was missed meanwhile.
    """
    while True:
        try:
            await hear(channel, told, name)
        except (Error, OSError) as fault:
            log.info("%s does not listen: %s", name, fault)
        await asyncio.sleep(PAUSE)


async def present(kind: str, worker: str) -> None:
    """Hold a lock that says that a worker lives, for ever; cancel it to end it.

    The server lets go of it as soon as the session ends, also when the process is killed. kind: the
    table whose rows say who has them. Shared, so that a session that is cut off hinders no new one.
    """
    sql = "SELECT pg_advisory_lock_shared(%s::regclass::oid::int, hashtext(%s))"
    while True:
        try:
            connection = await AsyncConnection.connect(**where("presence"), autocommit=True)
            async with connection:
                await connection.execute(sql, [kind, worker])
                async for _ in connection.notifies():  # none: this ends with the session
                    pass
        except (Error, OSError) as fault:
            log.info("%s is not seen: %s", worker, fault)
        await asyncio.sleep(PAUSE)


async def hear(channel: str, told: Callable[[str], None], name: str) -> None:
    connection = await AsyncConnection.connect(**where(name), autocommit=True)
    try:
        await connection.execute(f"LISTEN {channel}")
        told("")
        async for notification in connection.notifies():
            told(notification.payload)
    finally:
        await connection.close()
