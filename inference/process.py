"""The child as its parent sees it: a process that owns the device, and the pipe to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from multiprocessing.connection import Connection
from typing import Any


class ChildDied(Exception):
    """The process that owns the device is gone."""


class Process:
    """A running child and the pipe to it.

    Must be started by a thread that lives as long as the child is wanted: the kernel kills the
    child when that thread ends.
    """

    def __init__(self, command: tuple[str, ...], url: str, preload: str) -> None:
        """Start the interpreter anew, so that no CUDA or thread state is inherited."""
        ours, theirs = socket.socketpair()
        told = {key: value for key, value in os.environ.items() if "TOKEN" not in key}
        # Waiting threads that spin make a run seven times slower where cores are shared.
        told.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.process = subprocess.Popen(
            [*command, str(theirs.fileno()), url, preload],
            pass_fds=[theirs.fileno()],
            env=told,
        )
        theirs.close()
        self.pipe = Connection(ours.detach())
        self.resident: list[str] = []

    def send(self, **message: Any) -> None:
        """Send one message.  Raises ChildDied."""
        try:
            self.pipe.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise ChildDied from error

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Wait up to `seconds` for one message.  Raises ChildDied."""
        try:
            if not self.pipe.poll(seconds):
                return None
            message: dict[str, Any] = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise ChildDied from error
        self.resident = message.get("ready", message.get("resident", self.resident))
        return message

    def raw(self) -> bytes:
        """Wait for one message of bytes.  Raises ChildDied."""
        try:
            return self.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise ChildDied from error

    def kill(self) -> None:
        """End the child at once and reap it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.pipe.close()
