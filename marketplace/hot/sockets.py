"""Websockets over ASGI: finds who talks on a path, and is the socket that they talk on."""

import logging
from collections.abc import Sequence
from urllib.parse import parse_qsl

from marketplace.dialects.contract import Desk, Request, Surface
from marketplace.dialects.routing import compiled
from marketplace.hot.wire import Receive, Scope, Send

log = logging.getLogger(__name__)
NO_SUCH_ADDRESS, BROKEN = 4404, 1011


class Line:
    """Implements `dialects.contract.Socket`."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self._receive, self._send = receive, send
        self.open = True

    async def accept(self) -> None:
        await self._receive()  # that it wants to be connected
        await self._send({"type": "websocket.accept"})

    async def receive(self) -> bytes | str | None:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.open = False
            return None
        said: bytes | str = message.get("bytes") or message.get("text") or b""
        return said

    async def send(self, message: bytes | str) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        await self.tell({"type": "websocket.send", kind: message})

    async def close(self, code: int, reason: str) -> None:
        """A reason has at most 123 bytes on the wire."""
        short = reason.encode()[:123].decode(errors="ignore")
        await self.tell({"type": "websocket.close", "code": code, "reason": short})
        self.open = False

    async def tell(self, message: dict[str, object]) -> None:
        if not self.open:
            return
        try:
            await self._send(message)
        except (OSError, RuntimeError):  # it left while we spoke
            self.open = False


async def serve(
    desk: Desk, surfaces: Sequence[Surface], scope: Scope, receive: Receive, send: Send
) -> None:
    """Let the surface's route talk. A path that nobody talks on is refused before it is opened."""
    line = Line(handshake(scope), receive, send)
    routes = (route for surface in surfaces for route in surface.sockets)
    for route in routes:
        if found := compiled(route.pattern).fullmatch(scope["path"]):
            try:
                return await route.talk(desk, line, **found.groupdict())
            except Exception:
                log.exception("a session on %s failed", scope["path"])
                return await line.close(BROKEN, "Something went wrong on our side.")
    await receive()
    return await line.close(NO_SUCH_ADDRESS, "There is no such address.")


def handshake(scope: Scope) -> Request:
    return Request(
        method="GET",
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        headers={k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]},
        body=b"",
    )
