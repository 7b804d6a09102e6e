"""A stand-in for the control plane: the fleet API over real HTTP, with every call on record."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Plane(ThreadingHTTPServer):
    """Hands out the runs that a test put in and remembers what workers say."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.queue: list[dict[str, Any]] = []
        self.said: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.files: dict[str, bytes] = {}
        self.cancelled: set[str] = set()
        self.fenced: set[str] = set()
        self.failing: set[str] = set()  # verbs that answer 503
        self.tokens: set[str | None] = set()
        self.changed = threading.Condition()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def add(self, run: str, inputs: dict[str, Any], **more: Any) -> None:
        """Queue one run of glyph."""
        count = inputs.get("count", 1)
        job = {
            "run": run,
            "attempt": 1,
            "release": "kinora/glyph@2026-11-20",
            "target": "glyph",
            "inputs": inputs,
            "timeout_seconds": 60,
            "lease_seconds": 3,
            "uploads": [
                {"index": k, "url": f"{self.url}/up/{run}/{k}", "content_type": "image/png"}
                for k in range(count)
            ],
        }
        self.queue.append(job | more)

    def wait(self, condition: Any, seconds: float = 90) -> None:
        """Wait until something was said."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), dict(self.said)

    def completed(self, run: str, seconds: float = 90) -> dict[str, Any]:
        """Wait for the end of a run."""
        ends: list[dict[str, Any]] = []

        def seen() -> bool:
            ends[:] = [item for item in self.said["complete"] if item["run"] == run]
            return bool(ends)

        self.wait(seen, seconds)
        return ends[0]

    def steps(self, run: str) -> list[dict[str, Any]]:
        """List the reported progress of a run."""
        return [item["progress"] for item in self.said["report"] if item["run"] == run]

    def answer(self, verb: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one call."""
        with self.changed:
            if verb in self.failing:
                return 503, {}
            self.said[verb].append(body | {"at": time.monotonic()})
            self.changed.notify_all()
            if verb == "claim":
                return 200, {"runs": [self.queue.pop(0)] if self.queue else []}
            if body["run"] in self.fenced:
                return 409, {"error": {"code": "fence_lost"}}
            cancel = body["run"] in self.cancelled
            return 200, {"cancel": cancel, "lease_seconds": 3, "state": body.get("state")}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Plane

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self) -> None:
        self.server.tokens.add(self.headers.get("Authorization"))
        verb = self.path.rpartition("/")[2]
        status, found = self.server.answer(verb, json.loads(self.body()))
        content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        content = self.body()
        with self.server.changed:
            failing = "put" in self.server.failing
            if not failing:
                self.server.files[self.path] = content
            self.server.changed.notify_all()
        self.send_response(503 if failing else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
