"""A client as people write them: idempotency keys, retries, patience."""

import json
import random
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any

TERMINAL = {"succeeded", "failed", "cancelled"}


@dataclass
class Wish:
    """A run that the client wants. `run` is its id once a 2xx answer named it."""

    body: dict[str, Any]
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    run: str | None = None
    state: str = "wanted"


@dataclass(frozen=True)
class Api:
    """The public HTTP API of one stack."""

    url: str
    key: str

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """status and JSON; status 0 where nobody answered."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")
        except (OSError, ValueError):
            return 0, {}

    def submit(self, wish: Wish) -> None:
        """Send until a definite answer; the idempotency key makes repeats harmless."""
        status, answer = self.call("POST", "/api/v1/runs", wish.body, Idempotency_Key=wish.key)
        if status in (200, 201):
            wish.run, wish.state = answer["id"], answer["state"]
        elif 400 <= status < 500 and status != 429:
            raise RuntimeError(f"refused: {status} {answer}")

    def look(self, wish: Wish) -> None:
        status, answer = self.call("GET", f"/api/v1/runs/{wish.run}")
        if status == 200:
            wish.state = answer["state"]
        elif status == 404:
            raise RuntimeError(f"{wish.run} was accepted and is gone")


def wishes(draw: random.Random, count: int, *, own: int) -> list[Wish]:
    """Stills and clips that take a while, and every `own`th run by our own model."""
    made = []
    for n in range(count):
        prompt = f"leaf {draw.randrange(10**6)}"
        if n % own == 0:
            inputs: dict[str, Any] = {"prompt": "red heart", "steps": 50, "seed": n}
            made.append(Wish({"model": "kinora/glyph", "inputs": inputs}))
        elif n % 5 == 0:
            inputs = {"prompt": prompt, "seconds": 1, "latency_ms": draw.randrange(800)}
            made.append(Wish({"model": "rehearsal/clip", "inputs": inputs}))
        else:
            inputs = {"prompt": prompt, "latency_ms": draw.randrange(200, 3_000)}
            made.append(Wish({"model": "rehearsal/still", "inputs": inputs}))
    return made


def submit_all(api: Api, wanted: list[Wish], seconds: float) -> None:
    until = time.monotonic() + seconds
    while waiting := [wish for wish in wanted if wish.run is None]:
        if time.monotonic() > until:
            raise RuntimeError(f"{len(waiting)} runs could not be submitted in {seconds} s")
        for wish in waiting:
            api.submit(wish)
        time.sleep(0.1)


def follow_all(api: Api, wanted: list[Wish], seconds: float) -> None:
    until = time.monotonic() + seconds
    while waiting := [wish for wish in wanted if wish.state not in TERMINAL]:
        if time.monotonic() > until:
            names = ", ".join(f"{wish.run} {wish.state}" for wish in waiting)
            raise RuntimeError(f"not ended in {seconds} s: {names}")
        for wish in waiting:
            api.look(wish)
        time.sleep(0.2)
