"""Whom a price is for: `list` for everybody, `team:<uuid>` a contract, `window:<id>` a window;
`session` is what everybody pays for realtime sessions.

A segment has its own versions. One order decides which of them a team pays, `chosen`: an open
window's price before the team's contract, the contract before the list price.
"""

import re
from collections.abc import Container, Sequence
from uuid import UUID

from marketplace.accounts.models import Team
from marketplace.errors import InvalidInput

LIST = "list"
SESSION = "session"
WINDOW = re.compile(r"window:[a-z0-9][a-z0-9-]{0,47}")
ALLOWED = "segment must be `list`, `session`, `team:<id of a team>` or `window:<id of a window>`."


def contract(team_id: UUID | str) -> str:
    """The segment of a team's contract prices."""
    return f"team:{team_id}"


def chosen(priced: Container[str], team_id: UUID | str | None, windows: Sequence[str] = ()) -> str:
    """The segment that a team pays: the first of its windows that has a price, else its contract,
    else the list price.

    priced: the segments that have a price now. windows: ids of windows that are open to the team,
    the most particular first. No other team's segment is ever looked for.
    """
    wanted = [f"window:{window}" for window in windows]
    if team_id is not None:
        wanted.append(contract(team_id))
    return next((segment for segment in wanted if segment in priced), LIST)


def checked(segment: str) -> str:
    """The segment as it is stored. Raises InvalidInput where it names no team or is none."""
    kind, _, name = segment.partition(":")
    if segment in (LIST, SESSION) or WINDOW.fullmatch(segment):
        return segment
    if kind != "team":
        raise InvalidInput(ALLOWED, param="segment")
    try:
        team_id = UUID(name)
    except ValueError:
        raise InvalidInput(ALLOWED, param="segment") from None
    if not Team.objects.filter(pk=team_id).exists():
        raise InvalidInput(f"There is no team {team_id}.", param="segment")
    return contract(team_id)
