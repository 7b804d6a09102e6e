"""A complete stack of its own for a script: `manage.py up` on a free port and a new folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from marketplace.embedded import places

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stack:
    """data: its folder. url and keys as people get them; conninfo for looking underneath."""

    data: Path
    url: str
    key: str
    other_key: str
    conninfo: str

    def pids(self) -> dict[str, int]:
        """Name → process id of what runs now."""
        found: dict[str, Any] = json.loads((self.data / "processes.json").read_text())
        return {name: int(pid) for name, pid in found.items() if pid}


def lives(pid: int) -> bool:
    """Whether process `pid` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(*pids: int | None, seconds: float = 10) -> bool:
    """Whether all processes end; SIGKILL takes a moment to arrive."""
    until = time.monotonic() + seconds
    while any(pid and lives(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_stack(
    seconds: float = 180, data: Path | None = None, *, keep: bool = False, **settings: str
) -> Iterator[Stack]:
    """Start, wait until it serves, stop with Ctrl-C's signal, remove its folder unless `keep`.

    data: the folder of a stack that ran before, to start on it again.
    """
    data = data or Path(tempfile.mkdtemp(prefix="kinora-stack-"))
    (data / "demo.json").unlink(missing_ok=True)  # it says that the stack serves
    plain = {k: v for k, v in os.environ.items() if not k.startswith("KINORA_")}
    environ = plain | {"KINORA_DATA": str(data), "KINORA_PORT": str(free_port())} | settings
    log = (data / "up.log").open("w")
    up = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--no-demo"], cwd=ROOT, env=environ, stdout=log,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        wait_for(data / "demo.json", up, data / "up.log", seconds)
        yield described(data)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(timeout=30)
        log.close()
        if not keep:
            shutil.rmtree(data, ignore_errors=True)


def wait_for(file: Path, up: "subprocess.Popen[bytes]", log: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not file.exists():
        if up.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the stack did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def described(data: Path) -> Stack:
    demo = json.loads((data / "demo.json").read_text())
    password = (data / "secrets" / "kinora_database_password").read_text()
    conninfo = make_conninfo(
        host=str(places.sockets(data)), dbname="kinora", user="kinora", password=password
    )
    return Stack(data, demo["url"], demo["key"], demo["other_team_key"], conninfo)
