"""Ask the database from an event loop: in a thread, on Django's own connection."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


async def asked(question: Callable[[], T]) -> T:
    """What `question` gives; its connection goes back to the pool."""

    def ask() -> T:
        try:
            return question()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)
