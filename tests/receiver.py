"""Somebody's server that takes webhooks on this machine, well or badly."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


@dataclass(frozen=True)
class Received:
    """headers: lower-case names."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Manner = Callable[[BaseHTTPRequestHandler], None]


def well(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, 200, b"thanks")


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **more: str) -> None:
    handler.send_response(status)
    for name, value in more.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def answering(status: int, body: bytes = b"", **headers: str) -> Manner:
    return lambda handler: reply(handler, status, body, **headers)


def closing(handler: BaseHTTPRequestHandler) -> None:
    """Hang up without a word."""
    handler.close_connection = True


@dataclass
class Receiver:
    """manners: path → how it behaves there; well elsewhere. A list of them is used up in turn."""

    port: int
    manners: dict[str, Manner | list[Manner]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    most_at_once: int = 0
    present: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [one for one in self.received if one.path == path]

    def manner(self, path: str) -> Manner:
        found = self.manners.get(path, well)
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found

    def wait(self, count: int, path: str | None = None, seconds: float = 20) -> list[Received]:
        """What came, once it is that many."""
        end = time.monotonic() + seconds
        while len(found := self.at(path) if path else self.received) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} came"
            time.sleep(0.02)
        return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with receiver.lock:
                receiver.received.append(Received(self.path, headers, body))
                receiver.present += 1
                receiver.most_at_once = max(receiver.most_at_once, receiver.present)
                manner = receiver.manner(self.path)
            try:
                manner(self)
            except OSError:
                self.close_connection = True  # the caller has gone
            finally:
                with receiver.lock:
                    receiver.present -= 1

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
