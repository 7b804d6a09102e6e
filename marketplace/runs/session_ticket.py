"""A signed pass to begin one realtime session from a page, good for a minute."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core import signing

from marketplace.errors import NotAuthenticated

SECONDS = 60
SALT = "kinora.session"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who begins it, for which team, on what. max_cost: nano-units, or None."""

    user_id: int
    team_id: UUID
    model: str
    max_cost: int | None


def sign(ticket: Ticket) -> str:
    """Whoever holds it may spend as its person could, on one model, until it expires."""
    said = [ticket.user_id, ticket.team_id.hex, ticket.model, ticket.max_cost]
    return signing.dumps(said, salt=SALT)


def read(text: str) -> Ticket:
    """Raises NotAuthenticated where it is forged or too old."""
    try:
        said: list[Any] = signing.loads(text, salt=SALT, max_age=SECONDS)
    except signing.BadSignature:
        raise NotAuthenticated("This page is too old. Load it again.") from None
    return Ticket(said[0], UUID(said[1]), said[2], said[3])
