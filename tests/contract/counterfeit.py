"""A lab that is none: a real HTTP server with a lab's paths, words and ways to fail.

A `Shape` says how one lab speaks; what it is made to say comes from a scenario. Templates are JSON
in which `$id`, `$url` and `$b64` stand for the job, the address of its file and the file itself.
"""

import asyncio
import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

FILE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
JOB = "job-7f3a"
NAMES = re.compile(r"run_[0-9a-z]+")
TWO_GB = 2 * 1024**3

NOT_QUEUED = "the lab answers with the files: there is no job to ask after"
NO_NOTICE = "the lab sends no notifications"
NO_CANCEL = "the lab has no way to cancel"
NO_LENGTH = "its answers carry no length"
NO_CODE = "what the lab says within HTTP 200 is no trouble of its own"
NO_PRICE = "its answers carry no price"


@dataclass(frozen=True, slots=True)
class Says:
    """One answer. body: a template, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How one lab speaks. states: our word → its answer to a question, or to the job itself.

    invalid, policy_before: its answers to a job. lies: scenario → an answer like `succeeded` with a
    figure that is wrong, and what of it must come back as usage. cannot: scenario → why.
    """

    submit: str
    proof: tuple[str, str]
    states: Mapping[str, Any]
    invalid: Says
    policy_before: Says | None = None
    error_200: Mapping[str, Any]
    troubled: Mapping[str, Any] | None = None
    receipt: Any = None
    poll: str = ""
    cancel: tuple[str, str] | None = None
    notice: Any = None
    target: str = "model-1"
    inputs: Mapping[str, Any] = field(default_factory=lambda: {"prompt": "dusk"})
    secret: str = "access:secret"
    more: Mapping[str, Any] = field(default_factory=dict)
    lies: Mapping[str, tuple[Any, Mapping[str, str]]] = field(default_factory=dict)
    keyed: bool = False
    found_by_key: bool = False
    cannot: Mapping[str, str] = field(default_factory=dict)

    @property
    def queued(self) -> bool:
        return bool(self.poll)


class Counterfeit:
    """The server. to_job: what happens to a job; to_questions: one after the other, then the last.

    Each is a name in `states`, a `Says`, or one of the words hang, drop, malformed, html, huge.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.to_job: Any = "accept" if shape.queued else "succeeded"
        self.to_questions: Sequence[Any] = ("succeeded",)
        self.file: Any = Says(FILE)
        self.posts = self.jobs = self.asked = self.cancelled = self.sent = 0
        self.keys: set[str] = set()
        self.names: list[str] = []  # that jobs were given
        self.bodies: list[dict[str, Any]] = []
        self.unproven: list[str] = []
        self.thinks = 0.0  # seconds before it answers a job
        self.takes = ""  # the one secret that it knows us by; empty for any
        self.url = ""

    def application(self) -> web.Application:
        """For whoever serves it himself, and sets `url`."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        return app

    async def __aenter__(self) -> "Counterfeit":
        self.server = TestServer(self.application())
        await self.server.start_server(shutdown_timeout=0)
        self.url = str(self.server.make_url("")).rstrip("/")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path_qs
        if path == "/file":
            return await self.say(request, self.file)
        header, start = self.shape.proof
        if self.takes and self.takes not in request.headers.get(header, ""):
            return await self.say(request, Says({}, 401))
        if not request.headers.get(header, "").startswith(start):
            self.unproven.append(path)
        if request.method == "POST" and path == self.shape.submit:
            return await self.take(request)
        if path in self.shape.more:
            return await self.say(request, Says(self.shape.more[path]))
        if (request.method, path) == self.address(self.shape.cancel):
            self.cancelled += 1
            return await self.say(request, Says({}))
        return await self.answer(request)

    def address(self, asked: tuple[str, str] | None) -> tuple[str, str] | None:
        return asked and (asked[0], asked[1].replace("$id", JOB))

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.posts += 1
        said = await request.read()
        await asyncio.sleep(self.thinks)
        self.names += NAMES.findall(said.decode(errors="replace"))
        if request.content_type == "application/json":
            self.bodies.append(json.loads(said))
        key = request.headers.get("Idempotency-Key", str(self.posts))
        if isinstance(self.to_job, str) and self.to_job in {"accept", "drop", *self.shape.states}:
            self.keys.add(key)
            self.jobs = len(self.keys)
        if self.to_job == "drop" and self.shape.keyed and self.posts > 1:
            return await self.say(request, Says(self.shape.receipt))
        return await self.say(request, self.to_job)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        known = [self.shape.poll.replace("$id", JOB)]
        if self.shape.found_by_key and self.jobs:
            known += [self.shape.poll.replace("$id", name) for name in ("run-1", *self.names)]
        if not self.shape.queued or request.path_qs not in known:
            return await self.say(request, Says({}, 404))
        self.asked += 1
        place = min(self.asked, len(self.to_questions)) - 1
        return await self.say(request, self.to_questions[place])

    async def say(self, request: web.Request, what: Any) -> web.StreamResponse:
        if isinstance(what, str):
            what = await self.misbehave(request, what)
        if isinstance(what, web.StreamResponse):
            return what
        content = what.body if isinstance(what.body, bytes) else self.filled(what.body)
        return web.Response(body=content, status=what.status, headers=what.headers)

    async def misbehave(self, request: web.Request, word: str) -> Any:
        match word:
            case "accept":
                return Says(self.shape.receipt)
            case "hang":
                await asyncio.sleep(30)
            case "drop":
                assert request.transport is not None
                request.transport.close()
            case "malformed":
                return Says(self.filled(self.shape.receipt or self.shape.states["succeeded"])[:-9])
            case "html":
                page = b"<!doctype html><title>Be right back</title>"
                return Says(page, headers={"Content-Type": "text/html"})
            case "huge":
                return await self.pour(request)
            case _:
                state = self.shape.states[word]
                return state if isinstance(state, Says) else Says(state)
        return Says({})

    async def pour(self, request: web.Request) -> web.StreamResponse:
        """Two gigabytes, for as long as somebody reads."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        piece = b" " * 65536
        try:
            while self.sent < TWO_GB:
                await response.write(piece)
                self.sent += len(piece)
        except ConnectionError:
            pass
        return response

    def filled(self, template: Any) -> bytes:
        told = json.dumps(template).replace("$id", JOB).replace("$url", f"{self.url}/file")
        return told.replace("$b64", base64.b64encode(FILE).decode()).encode()
