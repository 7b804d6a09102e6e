"""The web process in a thread on a free port, and a client that speaks plain HTTP to it."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from marketplace.asgi import Web
from marketplace.hot.protocol import Protocol
from tests.running import free_port


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error that the answer must hold."""
        found: dict[str, Any] = self.json["error"]
        return found


@dataclass(frozen=True)
class Client:
    """Each call has a connection of its own, so threads share nothing."""

    port: int

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """body: bytes are sent as they are, anything else as JSON."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        named = {"Content-Type": "application/json"} if sent is not None else {}
        if key:
            named["Authorization"] = f"Bearer {key}"
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, path, sent, named | (headers or {}))
            answer = link.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            link.close()

    def get(self, path: str, *, key: str | None = None) -> Answer:
        return self.call("GET", path, key=key)

    def run(self, body: Any, *, key: str | None, once: str | None = None) -> Answer:
        """POST /api/v1/runs; once: the Idempotency-Key."""
        headers = {"Idempotency-Key": once} if once is not None else None
        return self.call("POST", "/api/v1/runs", body, key=key, headers=headers)


@contextmanager
def serving() -> Iterator[Client]:
    """Serve on a free port until the block ends."""
    port = free_port()
    config = uvicorn.Config(
        Web(),
        host="127.0.0.1",
        port=port,
        http=Protocol,
        log_level="warning",
        access_log=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Client(port)
    finally:
        server.should_exit = True
        thread.join(10)
