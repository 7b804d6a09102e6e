"""The playground's sessions: JSON over a websocket, which a ticket of the model's page opens."""

import asyncio
import base64
from functools import partial
from typing import Any

import orjson

from marketplace.dialects import native
from marketplace.dialects.contract import Desk, Socket, SocketRoute, Surface
from marketplace.dialects.fal_session import Payer, Session
from marketplace.dialects.fal_talk import REFUSED, Inbox, complaint
from marketplace.errors import KinoraError
from marketplace.runs import session_ticket
from marketplace.runs.session_ticket import Ticket

WAITING = 2  # prompts; newer ones make older ones pointless


async def talk(desk: Desk, socket: Socket) -> None:
    """Talk as fal's sessions do, in JSON."""
    await socket.accept()
    try:
        ticket = session_ticket.read(socket.request.query.get("ticket", ""))
        offer = await desk.shown_to(ticket.model, ticket.team_id, ticket.user_id)
    except KinoraError as error:
        await socket.send(complaint(error))
        await socket.close(REFUSED, error.message)
        return
    inbox = Inbox(socket, WAITING)
    reader = asyncio.ensure_future(inbox.fill())
    who = partial(payer, ticket)
    try:
        await Session(desk, socket, offer, ticket.max_cost, who, as_json).talk(inbox)
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def payer(ticket: Ticket) -> Payer:
    return Payer(ticket.team_id, None, ticket.user_id)


def as_json(told: dict[str, Any]) -> str:
    """A frame whose pictures are `data:` addresses."""
    images = [{**image, "content": None, "url": address(image)} for image in told["images"]]
    return orjson.dumps(told | {"images": images}).decode()


def address(image: dict[str, Any]) -> str:
    return f"data:{image['content_type']};base64,{base64.b64encode(image['content']).decode()}"


SURFACE = Surface((), (), native.refused, sockets=(SocketRoute("/live", talk),))
