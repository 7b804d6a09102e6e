"""Our own measures of a file: what it is by its content, how large, how long, with sound or not.

The decoding happens in a child process with limits that may crash or be killed; it is kept between
files and started anew after either. This module never opens the file.
"""

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

CHILD = Path(__file__).with_name("probe_child.py")
FILE_SECONDS = 20.0  # a decoder that takes longer is killed
START_SECONDS = 20.0  # more for the first file of a child, which imports the decoders
FILES_PER_CHILD = 2000  # then a fresh one, whatever the decoders leaked
ANSWER_BYTES = 64 * 1024
SIX_PLACES = Decimal("0.000001")


class ProbeFailed(Exception):
    """The file is not usable. The message ends a sentence that begins with the file."""


class ChildDied(Exception):
    """The decoding process ended, by a crash or its limits."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What was found by decoding. seconds: frames × their distance, six places."""

    kind: str
    content_type: str
    width: int | None
    height: int | None
    codec: str
    frames: int | None = None
    seconds: Decimal | None = None
    sound: bool = False


class Prober:
    """One child, one file at a time; safe to call from many threads."""

    def __init__(self, *, file_seconds: float = FILE_SECONDS) -> None:
        self.file_seconds = file_seconds
        self.lock = Lock()
        self.child: subprocess.Popen[bytes] | None = None
        self.files = 0

    def probe(self, path: Path) -> Measures:
        """Measure a local file. A crash is given a second try. Raises ProbeFailed."""
        with self.lock:
            for _ in range(2):
                try:
                    return read(self._ask(path))
                except ChildDied:
                    self._end()
        raise ProbeFailed("the decoder crashed or ran out of time")

    def close(self) -> None:
        with self.lock:
            self._end()

    def _ask(self, path: Path) -> dict[str, Any]:
        seconds = self.file_seconds
        if self.child is None or self.child.poll() is not None or self.files >= FILES_PER_CHILD:
            self._end()
            self.child, self.files = start(), 0
            seconds += START_SECONDS
        self.files += 1
        child = self.child
        if child.stdin is None or child.stdout is None:
            raise ChildDied
        try:
            child.stdin.write(json.dumps(str(path)).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            raise ChildDied from None
        answer: dict[str, Any] = json.loads(read_line(child.stdout.fileno(), seconds))
        return answer

    def _end(self) -> None:
        if self.child is None:
            return
        self.child.kill()
        self.child.communicate()
        self.child = None


@cache
def prober() -> Prober:
    """The prober of this process."""
    return Prober()


def start() -> "subprocess.Popen[bytes]":
    """A child that inherits nothing but the interpreter; it ends with its standard input."""
    return subprocess.Popen(
        [sys.executable, "-I", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
    )


def read_line(handle: int, seconds: float) -> bytes:
    """One line from the child. Raises ChildDied at its end, its silence or its babble."""
    until, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([handle], [], [], max(0.0, until - time.monotonic()))
        piece = os.read(handle, ANSWER_BYTES) if ready else b""
        if not piece or len(line) > ANSWER_BYTES:
            raise ChildDied
        line += piece
    return line


def read(answer: dict[str, Any]) -> Measures:
    if "unusable" in answer:
        raise ProbeFailed(str(answer["unusable"]))
    found = dict(answer["found"])
    if "seconds" in found:
        found["seconds"] = exact(Fraction(found["seconds"]))
    return Measures(**found)


def exact(seconds: Fraction) -> Decimal:
    return (Decimal(seconds.numerator) / seconds.denominator).quantize(SIX_PLACES)
