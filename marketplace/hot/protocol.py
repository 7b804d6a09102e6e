"""uvicorn's HTTP protocol, with patience that ends and a peer that remembers how it left.

A request must keep coming: one that trickles is given up, in its head as in its body. What is
still being sent after its answer is drained for a moment, so that the answer is read, then cut.
"""

import asyncio
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from marketplace.hot.peer import Peer

PEER = "kinora.peer"  # in a scope's extensions
WORDS = b'{"error":{"code":"too_slow","message":"The request came too slowly.","param":null}}'
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n" % len(WORDS)
)


class Protocol(HttpToolsProtocol):
    """`settings.TRICKLE` is the least that an unfinished request brings in a while."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.unfinished = False
        self.brought = 0
        self.after_answer = 0
        self.timer: asyncio.TimerHandle | None = None

    # ── the connection ────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = Peer(transport)
        self.wait()

    def eof_received(self) -> None:
        self.peer.hung_up()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.peer.lost(exc)
        self.rest()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self.unfinished = False
        self.rest()
        super().handle_websocket_upgrade()

    # ── one request after another ─────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        self.unfinished = True
        self.peer.requests += 1
        super().on_message_begin()
        self.scope["extensions"] = {PEER: self.peer}  # type: ignore[dict-item]

    def on_message_complete(self) -> None:
        self.unfinished = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self.brought += len(data)
        super().data_received(data)
        if not self.unfinished:
            self.rest()
        elif (asked := self.asked()) and asked.response_complete:
            self.drain(len(data))
        elif self.timer is None:
            self.wait()

    def drain(self, size: int) -> None:
        """More of a request that has its answer already."""
        self.after_answer += size
        if self.after_answer > settings.TRICKLE_DRAINED:
            self.transport.close()

    # ── patience ──────────────────────────────────────────────────────────────────────────────

    def wait(self) -> None:
        self.brought = 0
        self.timer = self.loop.call_later(settings.TRICKLE_SECONDS, self.judge)

    def rest(self) -> None:
        self.after_answer = 0
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def judge(self) -> None:
        """Wait on, or give up a request that does not come although we listen."""
        self.timer = None
        if self.transport.is_closing():
            return
        asked = self.asked()
        answered = asked is not None and asked.response_complete
        if not answered and (self.brought >= settings.TRICKLE_BYTES or self.unheard()):
            self.wait()
            return
        if self.unfinished and not (asked and asked.response_started):
            self.transport.write(TOO_SLOW + WORDS)
        self.transport.close()

    def unheard(self) -> bool:
        """Whether it is us who do not read."""
        asked = self.asked()
        return self.flow.read_paused or bool(asked and asked.waiting_for_100_continue)

    def asked(self) -> RequestResponseCycle | None:
        """The request that is coming in, once its head is there."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle if cycle and cycle.scope is self.scope else None
