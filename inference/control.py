"""HTTP client of the control plane: claim, renew, report, complete, and PUT of outputs.

Standard library only. Holds no state but address and token, so that any thread may call it.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar
from urllib.parse import urljoin

from inference.wire import Completion, Job, Progress

CALL_SECONDS = 10.0  # one call may take this long
LONGEST_PAUSE = 2.0
T = TypeVar("T")


class FenceLost(Exception):
    """409: the attempt is no longer ours; whatever it still does must not be told."""


class Unreachable(Exception):
    """The control plane did not answer, or answered that it cannot now (5xx, 429)."""


class Refused(Exception):
    """The control plane answered 4xx: asking again would not help."""


def send(request: urllib.request.Request, seconds: float = CALL_SECONDS) -> bytes:
    """Make one HTTP call.  Raises FenceLost, Unreachable, Refused."""
    if not request.full_url.startswith(("http://", "https://")):
        raise Refused(f"not an HTTP address: {request.full_url}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 checked above
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.CONFLICT:
            raise FenceLost from error
        detail = f"{error.code} {error.read(300)!r}"
        busy = error.code >= 500 or error.code in {408, 425, 429}
        raise (Unreachable if busy else Refused)(detail) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(str(error)) from error


def again(call: Callable[[], T], seconds: float, stop: Event | None = None) -> T:
    """Repeat a call while the other side is unreachable, for about `seconds`.

    Pauses grow from 0.1 s to 2 s with jitter. Once `stop` is set, the next failure is the last.
    """
    stop = stop or Event()
    end, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            return call()
        except Unreachable:
            if stop.is_set() or time.monotonic() + pause > end:
                raise
            stop.wait(pause * random.uniform(0.7, 1.3))  # noqa: S311 jitter
            pause = min(pause * 2, LONGEST_PAUSE)


class Control:
    """The fleet API as one worker sees it."""

    def __init__(self, url: str, token: str) -> None:
        """Take the control plane's base URL and the worker's token."""
        self.url, self.token = url.rstrip("/") + "/", token

    def post(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST JSON to `/fleet/v1/<verb>` and read JSON."""
        request = urllib.request.Request(  # noqa: S310 `send` checks the scheme
            urljoin(self.url, f"fleet/v1/{verb}"),
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method="POST",
        )
        try:
            found = json.loads(send(request) or b"{}")
        except ValueError as error:  # a proxy's page while the server restarts
            raise Unreachable("the answer is not JSON") from error
        return found if isinstance(found, dict) else {}

    def claim(
        self, worker: str, queue: str, resident: list[str], *, resident_only: bool = False
    ) -> Job | None:
        """Ask for one run; None if there is none.  resident_only: of a loaded model."""
        body = {
            "worker": worker,
            "queue": queue,
            "resident": resident,
            "resident_only": resident_only,
            "limit": 1,
        }
        runs = self.post("claim", body).get("runs", [])
        return Job.from_json(runs[0]) if runs else None

    def renew(self, job: Job) -> bool:
        """Keep the lease; tells whether the run is to be cancelled."""
        return bool(self.post("renew", {"run": job.run, "attempt": job.attempt}).get("cancel"))

    def report(self, job: Job, progress: Progress) -> bool:
        """Tell how far the run is, which renews too; tells whether it is to be cancelled."""
        body = {"run": job.run, "attempt": job.attempt, "progress": progress.to_json()}
        return bool(self.post("report", body).get("cancel"))

    def complete(self, completion: Completion) -> None:
        """End the attempt."""
        self.post("complete", completion.to_json())

    def put(self, url: str, content: bytes, content_type: str) -> None:
        """Deliver the bytes of one output to its signed address."""
        headers = {"Content-Type": content_type, "Content-Length": str(len(content))}
        target = urljoin(self.url, url)
        send(urllib.request.Request(target, data=content, headers=headers, method="PUT"))  # noqa: S310
