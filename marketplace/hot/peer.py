"""The other end of a connection, and whether an answer arrived there.

A program that reads all of an answer and hangs up makes its kernel say so politely (FIN). One that
is gone with something unread makes it reset the connection; one that cannot be reached any more
leaves our bytes without acknowledgement. Knows nothing of runs.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

OPEN, ENDED, BROKEN = "open", "ended", "broken"
TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # Linux
RESENT = 2  # where `struct tcp_info` counts how often a segment went out in vain
UNACKNOWLEDGED = 24  # where it counts the segments under way
NOTHING = bytes(UNACKNOWLEDGED + 4)
SILENT = 2  # times that the kernel has sent something again, hearing nothing


class Peer:
    """requests: how many it has begun to send. state: of the connection, as our kernel knows it."""

    __slots__ = ("link", "requests", "state", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.link: Any = None
        self.requests = 0
        self.state = OPEN

    def hung_up(self) -> None:
        """It sends nothing any more: politely, or while it had not received all of ours."""
        if self.state == OPEN:
            self.state = BROKEN if self.owed() else ENDED

    def lost(self, fault: Exception | None) -> None:
        if self.state == OPEN or fault is not None:
            self.state = ENDED if fault is None else BROKEN

    def owed(self) -> bool:
        """Whether bytes of ours are unacknowledged."""
        if self.transport.get_write_buffer_size():
            return True
        return any(self.info()[UNACKNOWLEDGED:])

    def silent(self) -> bool:
        """Whether it has long acknowledged nothing of what was sent."""
        return self.state == OPEN and self.info()[RESENT] >= SILENT

    def info(self) -> bytes:
        """The start of the kernel's `struct tcp_info`; zeros where it cannot be had."""
        if self.link is None:  # each time that uvloop is asked for it, it makes a new object
            self.link = self.transport.get_extra_info("socket")
        if TCP_INFO is None or self.link is None:
            return NOTHING
        try:
            found: bytes = self.link.getsockopt(socket.IPPROTO_TCP, TCP_INFO, len(NOTHING))
        except OSError:
            return NOTHING
        return found.ljust(len(NOTHING), b"\0")


@dataclass(frozen=True, slots=True)
class Answered:
    """A moment of a connection: everything asked so far has been answered.

    relayed: a proxy of ours asks for others, so the end of its connection says nothing.
    """

    peer: Peer
    requests: int
    relayed: bool

    def received(self) -> bool:
        """Whether more was asked on the connection since, as who has the answer does."""
        return not self.relayed and self.peer.requests > self.requests

    def missed(self) -> bool:
        """Whether the answer did not arrive, as surely as a kernel can know it."""
        if self.relayed or self.received():
            return False
        return self.peer.state == BROKEN or self.peer.silent()

    def doubtful(self) -> bool:
        """Whether it may not have arrived: enough for a client that says that it tries again."""
        if self.relayed:
            return True
        if self.received():
            return False
        return self.peer.state != OPEN or self.peer.owed()
