"""One child process: how it is started, asked, and ended with all that it left behind.

Knows nothing of what the programs are for, nor when they should run: that is the supervisor's.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

LOG_BYTES = 5_000_000
STEADY_SECONDS = 20.0  # after this long a crash counts as a first one again
FIRST_DELAY = 0.1
LONGEST_DELAY = 10.0


def nothing() -> None:
    """The preparation of a program that needs none."""


def at_once() -> bool:
    """The readiness of a program that nobody waits for."""
    return True


@dataclass(frozen=True)
class Program:
    """What is to run. command: asked at each start, after `prepare`. ready: a real question."""

    name: str
    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str] | None = None  # None: the parent's
    folder: Path | None = None
    prepare: Callable[[], None] = nothing
    ready: Callable[[], bool] = at_once
    stop_signal: int = signal.SIGTERM


@dataclass
class Process:
    """A program and its present process, if it has one."""

    program: Program
    logs: Path
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    crashes: int = 0
    due_at: float = field(default=0.0)

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        return self.popen.pid if self.popen else None

    def start(self) -> None:
        """Start it in a process group of its own; what it prints goes to its log."""
        self.program.prepare()
        with self.open_log() as log:
            self.popen = subprocess.Popen(
                self.program.command(),
                env=self.program.environment,
                cwd=self.program.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self.started_at = time.monotonic()

    def open_log(self) -> BinaryIO:
        """Its log, appended to; a large one is put aside first."""
        path = self.logs / f"{self.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.rename(path.with_suffix(".log.1"))
        return path.open("ab")

    def exited(self) -> int | None:
        """The status of a process that has ended; reaps it and kills its group's remains."""
        if self.popen is None or not ended(self.popen.pid):
            return None
        kill_group(self.popen.pid, signal.SIGKILL)  # before the reaping frees the number
        status = self.popen.wait()
        self.popen = None
        return status

    def put_off(self) -> float:
        """Plan the next start; the delay doubles while it keeps crashing."""
        steady = time.monotonic() - self.started_at > STEADY_SECONDS
        self.crashes = 1 if steady else self.crashes + 1
        delay: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (self.crashes - 1))
        self.due_at = time.monotonic() + delay
        return delay

    def ask_to_stop(self) -> None:
        if self.popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.popen.pid, self.program.stop_signal)  # not reaped, so still its own

    def kill(self) -> None:
        if self.popen is not None:
            kill_group(self.popen.pid, signal.SIGKILL)


def package_folder(package: str) -> Path:
    """Where a wheel that is only used for its binaries is installed; it is not imported."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise RuntimeError(f"{package} is not installed.")
    return Path(found.origin).parent


def ended(pid: int) -> bool:
    """Whether the child `pid` has ended; leaves it unreaped, so that its number stays taken."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
