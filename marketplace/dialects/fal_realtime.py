"""fal's realtime sessions: prompts in, frames out, over a websocket with MessagePack.

It opens with a key, or with a token that a browser may have for a minute or two. A release that
sells sessions has one run for all of it (`fal_session.py`), any other a run for each prompt
(`fal_frames.py`).
"""

import asyncio
from functools import partial
from uuid import UUID

from marketplace import body, errors
from marketplace.dialects import fal_frames, fal_session, tokens
from marketplace.dialects.contract import (
    Caller,
    Desk,
    Reply,
    Request,
    Route,
    Socket,
    SocketRoute,
)
from marketplace.dialects.fal_talk import REFUSED, Inbox, buffered, cap_of, complaint

USE = "realtime"
TOKEN_SECONDS = (1, 3600)


async def token(desk: Desk, request: Request) -> Reply:
    """A token for a session, on the models of these names. A JSON string, as clients expect."""
    caller = await desk.caller(request, needs="run")
    said = body.read(request.body) if request.body else {}
    least, most = TOKEN_SECONDS
    seconds = said.get("token_expiration", 120)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not least <= seconds <= most:
        raise errors.InvalidInput(
            f"token_expiration must be from {least} to {most} seconds.", param="token_expiration"
        )
    apps = said.get("allowed_apps")
    if not isinstance(apps, list) or not all(isinstance(app, str) for app in apps) or not apps:
        raise errors.InvalidInput(
            "allowed_apps must be a list of models' names.", param="allowed_apps"
        )
    text, _ = tokens.issue(caller, use=USE, seconds=seconds, to=" ".join(apps)[:500])
    return Reply(text)


async def session(desk: Desk, socket: Socket, model: str) -> None:
    """Talk until the client leaves, nobody says anything for a minute, or the money is used up."""
    await socket.accept()
    try:
        caller = await opened(desk, socket.request, model)
        cap, key_id = cap_of(socket.request), caller.key_id
        offer = (await desk.offers(caller)).get(model)
    except errors.KinoraError as error:
        await socket.send(complaint(error, unauthorized=True))
        await socket.close(REFUSED, error.message)
        return
    inbox = Inbox(socket, buffered(socket.request))
    reader = asyncio.ensure_future(inbox.fill())
    try:
        if offer and offer.session:
            who = partial(payer, desk, socket.request, key_id)
            await fal_session.Session(desk, socket, offer, cap, who).talk(inbox)
        else:
            await fal_frames.Session(desk, socket, model, key_id, cap).talk(inbox)
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def payer(desk: Desk, request: Request, key_id: UUID) -> fal_session.Payer:
    """Raises NotAuthenticated where the key has ended meanwhile, NotAllowed, Busy."""
    caller = await desk.holder(request, key_id, needs="run")
    return fal_session.Payer(caller.team_id, caller.key_id)


async def opened(desk: Desk, request: Request, model: str) -> Caller:
    """Whom the session is for. Raises NotAuthenticated, NotAllowed."""
    if "fal_jwt_token" in request.query:
        return await passed(desk, request, model)
    return await desk.caller(request, needs="run")


async def passed(desk: Desk, request: Request, model: str) -> Caller:
    """Whom the token in a query speaks for. Raises NotAuthenticated, NotAllowed."""
    key_id, apps = tokens.read(request.query["fal_jwt_token"], use=USE)
    names = {model, model.partition("/")[2].partition("/")[0].partition("@")[0]}
    if not names & set(apps.split()):
        raise errors.NotAuthenticated("This token is for another model.")
    return await desk.holder(request, key_id, needs="run")


ROUTES = (
    Route("POST", "/fal/rest/tokens/", token),
    Route("POST", "/fal/rest/tokens/realtime", token),
)
SOCKETS = (
    SocketRoute("/fal/run/{model:path}/realtime", session),
    SocketRoute("/fal/run/{model:path}", session),
)
