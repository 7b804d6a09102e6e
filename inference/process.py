"""The child as its parent sees it: a process that owns the device, and the pipe to it.

Several threads talk to it at once, each on a lane of its own; a thread here sorts what comes back.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Self

Message = dict[str, Any]
PR_SET_PDEATHSIG = 1


class ChildDied(Exception):
    """The process that owns the device is gone."""


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:  # it ended before the call above
        os._exit(1)


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
        self.runs = 1  # as many at once; the child knows its device
        self.lanes: dict[int, Lane] = {}
        self.opened, self.dead, self.lock = 0, False, Lock()
        self.first = Lane(self, 0)
        self.lanes[0] = self.first
        self.reader = Thread(target=self.sort, name="child's words", daemon=True)
        self.reader.start()

    def open(self) -> Lane:
        """Begin a conversation."""
        with self.lock:
            self.opened += 1
            lane = self.lanes[self.opened] = Lane(self, self.opened)
            if self.dead:
                lane.heard.put(None)
            return lane

    def send(self, message: Message) -> None:
        """Send one message.  Raises ChildDied."""
        try:
            with self.lock:
                self.pipe.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise ChildDied from error

    def sort(self) -> None:
        """Put every message into its lane until the child is gone; then tell all lanes."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.take(json.loads(self.pipe.recv_bytes()))
        with self.lock:
            self.dead = True
            for lane in self.lanes.values():
                lane.heard.put(None)

    def take(self, message: Message) -> None:
        """Sort in one message, with the files that it announces."""
        lengths = message.get("drawn", {}).get("lengths", ())
        message["files"] = [self.pipe.recv_bytes() for _ in lengths]
        for word in {"ready", "resident"} & message.keys():
            self.resident = message[word]
        self.runs = message.get("runs", self.runs)
        if lane := self.lanes.get(message["lane"]):
            lane.heard.put(message)

    def kill(self) -> None:
        """End the child at once and reap it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        with self.lock:
            self.pipe.close()


class Lane:
    """One conversation with the child: what is sent and what comes back about it."""

    def __init__(self, child: Process, number: int) -> None:
        """Take its number; `Process.open` gives one."""
        self.child, self.number = child, number
        self.heard: SimpleQueue[Message | None] = SimpleQueue()

    def __enter__(self) -> Self:
        """Talk."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hear no more."""
        with self.child.lock:
            self.child.lanes.pop(self.number, None)

    def send(self, **message: Any) -> None:
        """Send one message.  Raises ChildDied."""
        self.child.send({"lane": self.number} | message)

    def receive(self, seconds: float) -> Message | None:
        """Wait up to `seconds` for one message.  Raises ChildDied."""
        try:
            message = self.heard.get(timeout=seconds)
        except Empty:
            return None
        if message is None:
            raise ChildDied
        return message
