"""The main job, through the public HTTP API and nothing else: a picture and a clip, paid for."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import uuid4

from marketplace.embedded import paper

JOBS: tuple[Mapping[str, Any], ...] = (
    {"model": "kinora/glyph", "inputs": {"prompt": "red heart", "seed": 7}},
    {
        "model": "rehearsal/clip",
        "inputs": {"prompt": "a carousel after closing time", "seconds": 5, "sound": True},
    },
)
TERMINAL = {"succeeded", "failed", "cancelled"}
CALL_SECONDS = 30
STREAM_SECONDS = 60
JOB_SECONDS = 240
PAUSE_SECONDS = 0.5
TYPES = {"image/png": ".png", "video/mp4": ".mp4"}

Json = dict[str, Any]
Draw = Callable[[str], None]


class JobFailed(RuntimeError):
    """The main job did not end with a paid-for file."""


@dataclass(frozen=True)
class Api:
    """A client of the native API, as a customer would write it."""

    url: str
    key: str

    def open(self, path: str, body: Json | None = None, *, limit: float = CALL_SECONDS) -> Any:
        """Call `path`; with `body` a POST. Raises JobFailed with the API's own words."""
        request = urllib.request.Request(urljoin(self.url, path))  # noqa: S310 - a given http URL
        request.add_header("Authorization", f"Bearer {self.key}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
            request.add_header("Idempotency-Key", str(uuid4()))
        try:
            return urllib.request.urlopen(request, timeout=limit)  # noqa: S310 - as above
        except urllib.error.HTTPError as error:
            raise JobFailed(f"{path}: {error.code} {error.read().decode()}") from error

    def call(self, path: str, body: Json | None = None) -> Json:
        with self.open(path, body) as answer:
            found: Json = json.load(answer)
            return found

    def events(self, path: str) -> Iterator[Json]:
        """The run at each change, by server-sent events."""
        with self.open(path, limit=STREAM_SECONDS) as stream:
            for line in stream:
                if line.startswith(b"data: {") and len(found := json.loads(line[6:])) > 0:
                    yield found


def main_job(api: Api, folder: Path, *, draw: Draw, say: Draw) -> None:
    """Do every job in turn: quote, run, follow, save, and say its receipt. Raises JobFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    for job in JOBS:
        quote = api.call("/api/v1/quotes", dict(job))
        run = api.call("/api/v1/runs", {**job, "quote": quote["id"]})
        run = follow(api, run, draw)
        if run["state"] != "succeeded":
            raise JobFailed(f"{run['id']} {run['state']}: {run['error']}")
        file = save(api, run, folder)
        say(paper.receipt(balanced(settled(api, run)), file))


def follow(api: Api, run: Json, draw: Draw) -> Json:
    """The run in its last state; draws each change. A broken stream is taken up again."""
    until = time.monotonic() + JOB_SECONDS
    draw(paper.progress(run))
    while run["state"] not in TERMINAL:
        try:
            for seen in api.events(run["links"]["events"]):
                run = seen
                draw(paper.progress(run))
        except OSError:
            time.sleep(PAUSE_SECONDS)
        if time.monotonic() > until:
            raise JobFailed(f"{run['id']} is still {run['state']} after {JOB_SECONDS} s")
    return run


def settled(api: Api, run: Json) -> Json:
    """The receipt, checked: a charge that was captured, with the file it is for."""
    found = api.call(run["links"]["receipt"])
    if found["cost"]["state"] != "captured":
        raise JobFailed(f"{run['id']} is {found['cost']['state']}, not captured")
    return found


def balanced(receipt: Json) -> Json:
    if not receipt["entries"] or paper.entries_sum(receipt):
        raise JobFailed(f"{receipt['run']}: its ledger entries do not sum to 0")
    return receipt


def save(api: Api, run: Json, folder: Path) -> Path:
    """Fetch the first output by its signed address, which needs no key and must not see it."""
    output = run["outputs"][0]
    name = run["model"].replace("/", "-") + TYPES.get(output["content_type"], "")
    url = urljoin(api.url, output["url"])
    with urllib.request.urlopen(url, timeout=CALL_SECONDS) as answer:  # noqa: S310 - our API's
        content = answer.read()
    if len(content) != output["bytes"]:
        raise JobFailed(f"{output['id']}: {len(content)} bytes instead of {output['bytes']}")
    file: Path = folder / name
    file.write_bytes(content)
    return file
