"""A developer sends 120 MB through a stack as people run it; the web process stays small."""

import hashlib
import http.client
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.marketplace.media import samples
from tests.running import Stack

BLOCKS = 120
SIZE = 44 + BLOCKS * len(samples.BLOCK)
LINE = b"line"
ALLOWED = 64 * 1024  # KiB that the process may grow; half of one upload


def digest() -> str:
    found = hashlib.sha256()
    for piece in samples.wav(BLOCKS):
        found.update(piece)
    return found.hexdigest()


def send(stack: Stack, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
    link = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=120)
    try:
        link.request(method, path, body, {"Authorization": f"Bearer {stack.key}"} | headers)
        answer = link.getresponse()
        told = json.loads(answer.read())
        assert answer.status < 300, told
        return told
    finally:
        link.close()


def raw(stack: Stack) -> Any:
    length = {"Content-Length": str(SIZE)}
    return send(stack, "POST", "/api/v1/files", samples.wav(BLOCKS), length)


def form(stack: Stack) -> Any:
    head = b'--line\r\nContent-Disposition: form-data; name="file"; filename="rain.wav"\r\n\r\n'
    tail = b"\r\n--line--\r\n"

    def body() -> Iterator[bytes]:
        yield head
        yield from samples.wav(BLOCKS)
        yield tail

    kind = "multipart/form-data; boundary=line"
    headers = {"Content-Type": kind, "Content-Length": str(len(head) + SIZE + len(tail))}
    return send(stack, "POST", "/api/v1/files", body(), headers)


def signed(stack: Stack) -> Any:
    made = send(stack, "POST", "/api/v1/uploads", json.dumps({"name": "rain.wav"}), {})
    url = urlsplit(made["upload"]["url"])
    length = {"Content-Length": str(SIZE)}
    return send(stack, "PUT", f"{url.path}?{url.query}", samples.wav(BLOCKS), length)


def resident(pid: int) -> int:
    """KiB of memory that the process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


class Watched:
    """The most memory that a process held while the block ran."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self.over = pid, resident(pid), threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, resident(self.pid))

    def __enter__(self) -> "Watched":
        self.thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.over.set()
        self.thread.join()


@pytest.mark.parametrize("way", [raw, form, signed])
def test_120_megabytes_pass_through_and_are_never_held(stack: Stack, way: Any) -> None:
    web = stack.pids()["web"]
    send(stack, "POST", "/api/v1/files", samples.picture(), {})  # the decoder has started
    before = resident(web)
    with Watched(web) as watched:
        told = way(stack)
    assert (told["state"], told["content_type"], told["bytes"]) == ("ready", "audio/wav", SIZE)
    assert told["sha256"] == digest()
    assert watched.most - before < ALLOWED, f"{(watched.most - before) // 1024} MiB"
