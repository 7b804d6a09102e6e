"""Ask Django's tables from a dialect, in a thread: for calls that are on the way of no run."""

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError
from psycopg_pool import PoolTimeout

from marketplace import errors
from marketplace.access.authorise import Scope
from marketplace.accounts.models import ApiKey, Team
from marketplace.dialects.contract import Desk, Reply, Request, Row
from marketplace.webhooks.threads import asked

T = TypeVar("T")


async def of_team(desk: Desk, request: Request, needs: Scope, work: Callable[[Team], Row]) -> Reply:
    """What `work` makes of the caller's team."""
    caller = await desk.caller(request, needs=needs)
    return Reply(await reached(lambda: work(Team.objects.get(id=caller.team_id))))


async def of_key(desk: Desk, request: Request, needs: Scope, work: Callable[[ApiKey], T]) -> T:
    """What `work` makes of the caller's key, whose team comes with it."""
    caller = await desk.caller(request, needs=needs)
    return await reached(
        lambda: work(ApiKey.objects.select_related("team", "created_by").get(id=caller.key_id))
    )


async def reached(question: Callable[[], T]) -> T:
    """Raises Unavailable where the database is away."""
    try:
        return await asked(question)
    except (OperationalError, PoolTimeout):
        raise errors.database_away() from None
