"""Ring for the processes of this machine that take runs of a queue: a datagram, in microseconds.

The broker's hint goes through three programs to say the same; it reaches other machines, too, and
follows at its leisure. To ring in vain loses nothing: nobody relies on a bell.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from django.conf import settings

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # bells that were hung since are found after this long
MOST = 64  # bytes of a ring


def bells(queue: str) -> list[Path]:
    """Those that hang, and those that killed processes left."""
    return sorted(settings.SOCKETS.glob(f"{queue}-*.bell"))


class Bell:
    """Calls `heard` in the running event loop whenever somebody rings at `queue`: in its block."""

    def __init__(self, queue: str, heard: Callable[[], None]) -> None:
        self.path: Path = settings.SOCKETS / f"{queue}-{os.getpid()}.bell"
        self.heard = heard
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)

    def __enter__(self) -> Self:
        self.hang()
        return self

    def __exit__(self, *_: object) -> None:
        self.take_down()

    def hang(self) -> None:
        """Begin to listen; where that cannot be, the broker's hints do."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            self.socket.bind(str(self.path))
        except OSError as fault:
            log.warning("no bell at %s: %s", self.path, fault)
            return
        asyncio.get_running_loop().add_reader(self.socket, self.hear)

    def hear(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self.socket.recv(MOST)
        self.heard()

    def take_down(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()
        self.path.unlink(missing_ok=True)


class Ringer:
    """Knows the bells of this machine as they were a moment ago."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.known: dict[str, tuple[float, list[Path]]] = {}

    def ring(self, queue: str) -> bool:
        """Whether anybody hears it. Never waits."""
        return sum(self.heard(path) for path in self.at(queue)) > 0

    def at(self, queue: str) -> list[Path]:
        until, found = self.known.get(queue, (0.0, []))
        if until < time.monotonic():
            found = bells(queue)
            self.known[queue] = time.monotonic() + LOOK_SECONDS, found
        return found

    def heard(self, path: Path) -> bool:
        try:
            self.socket.sendto(b"r", str(path))
        except BlockingIOError:
            pass  # it has enough rings to hear
        except ConnectionRefusedError:  # its process was killed
            with suppress(OSError):
                path.unlink()
            return False
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.socket.close()
