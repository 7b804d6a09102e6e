"""A TCP proxy between a client and the stack that cuts replies off, wherever a test wants it.

It speaks no HTTP of its own: bytes pass as they are, it only knows where a message ends.
"""

import ctypes
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)  # linger: on close, throw everything away and say so
SO_ATTACH_FILTER, RETURN = 26, 0x06  # Linux: a socket's packet filter, and its word for an end
END = b"\r\n\r\n"
# How many bytes of a reply, given its head and its body, reach the client before the cut.
POINTS: dict[str, Callable[[bytes, bytes], int]] = {
    "nothing": lambda _head, _body: 0,
    "head": lambda head, _body: len(head),
    "half": lambda head, body: len(head) + len(body) // 2,
    "whole": lambda head, body: len(head) + len(body),
}


@dataclass
class Cutter:
    """behind: what it stands before. cuts: how many replies to POSTs with a body are cut.

    how: `reset` breaks both connections; `close` ends both politely, the stack's after all of the
    reply was read from it; `mute` lets nothing from the stack arrive any more, not even that it
    was received, and breaks the client's connection after `patience` seconds.
    """

    behind: str
    point: str = "nothing"
    how: str = "reset"
    cuts: int = 1
    patience: float = 3.0
    url: str = ""
    posts: int = 0
    links: list[socket.socket] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        """One connection, until a side leaves or it is cut."""
        host, port = urlsplit(self.behind).netloc.split(":")
        with client, socket.create_connection((host, int(port))) as server:
            self.links += [client, server]
            with suppress(OSError, EOFError):
                while self.passed(client, server):
                    pass

    def passed(self, client: socket.socket, server: socket.socket) -> bool:
        """Pass one request and its reply. Whether both sides are still connected."""
        head, body = message(client)
        posted = head.startswith(b"POST") and bool(body)
        self.posts += posted
        cut = posted and self.cuts > 0
        self.cuts -= cut
        if cut and self.how == "mute":
            return self.muted(client, server, head + body)
        server.sendall(head + body)
        head, body = message(server)
        seen = POINTS[self.point](head, body) if cut else len(head + body)
        client.sendall((head + body)[:seen])
        if cut and self.how == "reset":
            reset(server, client)
        return not cut

    def muted(self, client: socket.socket, server: socket.socket, request: bytes) -> bool:
        """The reply is sent in vain, again and again; then the client learns of it."""
        server.sendall(request)
        deafen(server)
        time.sleep(self.patience)
        reset(client)
        time.sleep(self.patience)  # the stack hears nothing of it
        return False


def deafen(link: socket.socket) -> None:
    """Let a packet filter drop all that arrives, so that nothing of it is acknowledged."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, 0), 8)
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(drop))
    link.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def reset(*links: socket.socket) -> None:
    for link in links:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        link.close()


def message(link: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next message. Raises EOFError where there is none."""
    data = b""
    while END not in data:
        data += more(link)
    head, _, body = data.partition(END)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"0\r\n\r\n"):
            body += more(link)
    while len(body) < int(fields.get(b"content-length", 0)):
        body += more(link)
    return head + END, body


def more(link: socket.socket) -> bytes:
    if data := link.recv(65536):
        return data
    raise EOFError


@contextmanager
def cutting(behind: str, point: str = "nothing", how: str = "reset") -> Iterator[Cutter]:
    """Open on a free port until the block ends."""
    found = Cutter(behind, point, how)
    with socket.create_server(("127.0.0.1", 0)) as door:
        found.url = f"http://127.0.0.1:{door.getsockname()[1]}"

        def open_door() -> None:
            with suppress(OSError):
                while True:
                    client, _ = door.accept()
                    threading.Thread(target=found.serve, args=(client,), daemon=True).start()

        keeper = threading.Thread(target=open_door, daemon=True)
        keeper.start()
        try:
            yield found
        finally:
            door.shutdown(socket.SHUT_RDWR)
            for link in found.links:
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
            keeper.join(10)
