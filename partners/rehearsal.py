"""The rehearsal lab: a deterministic stand-in for a media lab's HTTP API.

    python -m partners.rehearsal --port 8001

POST /v1/jobs with an Idempotency-Key, GET /v1/jobs/{id}, POST /v1/jobs/{id}/cancel,
GET /v1/files/{name}, GET /v1/stats. The models `still` and `clip` draw from the prompt, `blend`,
`animate` and `tint` from pictures or a clip that they are given; the inputs `latency_ms` and
`behaviour` make it slow, refuse, fail, hang, deliver less, or lie.
It keeps jobs in memory and imports nothing of the marketplace.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web

from partners import drawing
from partners.labs.rehearsal import descriptions
from partners.pens import render

STEPS = drawing.LEAVES
GIVEN_BYTES = 256 * 1024 * 1024
INLINE_BYTES = 32 * 1024  # smaller files come inside the answer
JOBS_KEPT = 20_000
RENDERED_BYTES = 128 * 1024 * 1024
EXAGGERATION = 128.4  # an 80-second clip was once reported as 10,272 seconds
STILLS = ("still", "blend")
FILES = ("image", "images", "mask_image", "video")  # inputs that are files, in this order
ENDED_WELL = frozenset({"normal", "lie_longer", "lie_units", "partial"})


class Wrong(Exception):
    """The caller's fault. status: the HTTP status to answer with."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Job:
    """One job. due: on the monotonic clock. files: drawn once it is due."""

    id: str
    model: str
    inputs: dict[str, Any]
    began: float
    due: float
    begun: bool = False
    cancelled: bool = False
    given: tuple[bytes, ...] = ()  # files
    files: list[bytes] | None = None
    failed: bool = False

    def done(self) -> bool:
        return self.files is not None or self.failed or self.cancelled

    def content_type(self) -> str:
        return "image/png" if self.model in STILLS else "video/mp4"


@dataclass(slots=True)
class Lab:
    """Everything the lab knows. Two threads draw; the event loop answers."""

    jobs: OrderedDict[str, Job] = field(default_factory=OrderedDict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)  # key → digest, job id
    rendered: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    rendered_bytes: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    pens: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    drawing: set[asyncio.Task[None]] = field(default_factory=set)

    def submit(self, key: str, model: str, given: dict[str, Any]) -> Job:
        """A job for these inputs; the same key gives the same job. Raises Wrong."""
        self.counted["posts"] += 1
        inputs = checked(model, given)
        digest = fingerprint([model, unsigned(inputs)])
        if key in self.keys:
            first, job_id = self.keys[key]
            if first != digest:
                raise Wrong(409, "key_reused", "This Idempotency-Key belongs to another job.")
            return self.jobs[job_id]
        self.counted["jobs"] += 1
        now = time.monotonic()
        name = hashlib.sha256(f"{key}:{digest}".encode()).hexdigest()[:24]
        job = Job(f"job_{name}", model, inputs, now, now + inputs["latency_ms"] / 1000)
        self.keep(key, digest, job)
        return job

    def keep(self, key: str, digest: str, job: Job) -> None:
        self.jobs[job.id] = job
        self.keys[key] = digest, job.id
        if len(self.jobs) > JOBS_KEPT:
            gone, _ = self.jobs.popitem(last=False)
            oldest = next(iter(self.keys))
            if self.keys[oldest][1] == gone:
                del self.keys[oldest]

    async def begin(self, job: Job) -> None:
        """Let the work go on by itself, or wait for it where it is due at once."""
        job.begun = True
        if job.due <= job.began:
            return await self.work(job)
        task = asyncio.create_task(self.work(job))
        self.drawing.add(task)
        task.add_done_callback(self.drawing.discard)
        return None

    async def work(self, job: Job) -> None:
        """Draw what the job asks for, not before it is due."""
        if job.inputs["behaviour"] == "hang":
            return
        if job.inputs["behaviour"] not in ENDED_WELL:
            await asyncio.sleep(max(0.0, job.due - time.monotonic()))
            job.failed = True
            return
        try:
            job.given = tuple([await given_file(each) for each in addresses(job.inputs)])
            files = await asyncio.gather(*(self.draw(job, i) for i in range(delivered(job))))
        except (aiohttp.ClientError, OSError, ValueError):  # no such address, or no file
            job.failed = True
            return
        await asyncio.sleep(max(0.0, job.due - time.monotonic()))
        job.files = list(files)

    async def draw(self, job: Job, index: int) -> bytes:
        """The bytes of one file, from memory where the same was drawn before."""
        given = [hashlib.sha256(file).hexdigest() for file in job.given]
        name = fingerprint([job.model, *given, *picture_of(job, index)])
        if name not in self.rendered:
            pen = partial(render, job.model, job.given, *picture_of(job, index))
            content = await asyncio.get_running_loop().run_in_executor(self.pens, pen)
            self.remember(name, content)
        return self.rendered[name]

    def remember(self, name: str, content: bytes) -> None:
        if name not in self.rendered:
            self.rendered_bytes += len(content)
        self.rendered[name] = content
        while self.rendered_bytes > RENDERED_BYTES and len(self.rendered) > 1:
            self.rendered_bytes -= len(self.rendered.popitem(last=False)[1])


def fingerprint(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def unsigned(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs with addresses less their signatures: one file may be signed anew."""
    plain = [address.partition("?")[0] for address in addresses(inputs)]
    return {name: value for name, value in inputs.items() if name not in FILES} | {"files": plain}


def addresses(inputs: dict[str, Any]) -> list[str]:
    """Where the files are that the inputs name."""
    named = [inputs[name] for name in FILES if inputs.get(name)]
    return [each for some in named for each in (some if isinstance(some, list) else [some])]


async def given_file(address: str) -> bytes:
    """What the caller's address or `data:` URI gives. Raises OSError, ValueError."""
    if address.startswith("data:"):
        return base64.b64decode(address.partition(",")[2], validate=True)
    limit = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=limit) as session, session.get(address) as answer:
        if answer.status != 200:
            raise OSError("no file there")
        if not 0 < (answer.content_length or 0) <= GIVEN_BYTES:
            raise ValueError("no file of a size that we know")
        return await answer.read()


def checked(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """The inputs with defaults filled in. Raises Wrong."""
    schema = next((d.inputs for d in descriptions() if d.target == model), None)
    if schema is None:
        raise Wrong(404, "unknown_model", f"There is no model {model!r}.")
    for name in schema["required"]:
        if name not in given:
            raise Wrong(422, "invalid_input", f"`{name}` is missing.")
    properties = schema["properties"]
    inputs = {name: p["default"] for name, p in properties.items() if "default" in p} | given
    for name, value in inputs.items():
        if name not in properties or not fits(value, properties[name]):
            raise Wrong(422, "invalid_input", f"`{name}` is not usable.")
    return inputs


def fits(value: Any, rule: dict[str, Any]) -> bool:
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list}
    if not isinstance(value, kinds[rule["type"]]):
        return False
    if isinstance(value, bool) != (rule["type"] == "boolean"):
        return False
    low, high = rule.get("minimum", value), rule.get("maximum", value)
    return value in rule.get("enum", [value]) and bool(low <= value <= high)


# ── what is drawn ─────────────────────────────────────────────────────────────────────────────


def delivered(job: Job) -> int:
    """How many files the job gives."""
    if job.model != "still":
        return 1
    count: int = job.inputs["count"]
    return max(1, count - 1) if job.inputs["behaviour"] == "partial" else count


def frames(job: Job) -> int:
    whole: int = job.inputs["seconds"] * job.inputs["fps"]
    return whole // 2 if job.inputs["behaviour"] == "partial" else whole


def picture_of(job: Job, index: int) -> tuple[Any, ...]:
    """What decides the bytes of a file."""
    i = job.inputs
    if job.model == "still":
        return i["prompt"], i["size"], i["seed"], index
    if job.model == "blend":
        return i["prompt"], i["size"], i["seed"], "mask_image" in i
    if job.model in ("animate", "tint"):
        return i["prompt"], i["resolution"], i["fps"], frames(job), i["seed"]
    return i["prompt"], i["resolution"], i["fps"], frames(job), i["seed"], i["sound"]


# ── what is told ──────────────────────────────────────────────────────────────────────────────


def shown(job: Job) -> dict[str, Any]:
    told: dict[str, Any] = {"id": job.id, "model": job.model, "status": status(job)}
    if told["status"] == "running":
        told["progress"] = {"step": step(job), "steps": STEPS}
    if told["status"] == "succeeded":
        told["outputs"] = [file(job, i, content) for i, content in enumerate(job.files or ())]
        told["usage"] = usage(job)
    if told["status"] in {"refused", "failed"}:
        told["error"] = fault(told["status"])
    return told


def status(job: Job) -> str:
    if job.cancelled:
        return "cancelled"
    if job.failed:
        return "refused" if job.inputs["behaviour"] == "refuse" else "failed"
    return "running" if job.files is None else "succeeded"


def step(job: Job) -> int:
    """Leaves that have flicked past; a hanging job stops at the third."""
    share = (time.monotonic() - job.began) / max(job.due - job.began, 0.001)
    most = 3 if job.inputs["behaviour"] == "hang" else STEPS - 1
    return min(most, int(share * STEPS))


def file(job: Job, index: int, content: bytes) -> dict[str, Any]:
    end = "png" if job.model in STILLS else "mp4"
    told: dict[str, Any] = {"content_type": job.content_type(), "bytes": len(content)}
    if len(content) <= INLINE_BYTES:
        return told | {"data": base64.b64encode(content).decode()}
    return told | {"url": f"/v1/files/{job.id}-{index}.{end}"}


def usage(job: Job) -> dict[str, float]:
    """What the lab says it made, which is a lie where that is asked for."""
    if job.model in STILLS:
        made: float = len(job.files or ())
        unit, wrong = "images", made * 1_000_000  # pixels
    else:
        made = frames(job) / job.inputs["fps"]
        unit, wrong = "video_seconds", made * 1000  # milliseconds
    lies = {"lie_longer": round(made * EXAGGERATION, 1), "lie_units": wrong}
    return {unit: lies.get(job.inputs["behaviour"], made)}


def fault(state: str) -> dict[str, str]:
    if state == "refused":
        return {"code": "content_refused", "message": "The lab does not draw this."}
    return {"code": "lab_failed", "message": "The lab failed to draw this."}


# ── the server ────────────────────────────────────────────────────────────────────────────────

LAB = web.AppKey("lab", Lab)


async def post_job(request: web.Request) -> web.Response:
    lab = request.app[LAB]
    try:
        job = lab.submit(*asked(request.headers.get("Idempotency-Key"), await request.read()))
    except Wrong as error:
        body = {"error": {"code": error.code, "message": error.message}}
        return web.json_response(body, status=error.status)
    if not job.begun:
        await lab.begin(job)
    return web.json_response(shown(job), status=201)


def asked(key: str | None, content: bytes) -> tuple[str, str, dict[str, Any]]:
    """Key, model and inputs of a request. Raises Wrong."""
    try:
        body = json.loads(content)
    except ValueError:
        raise Wrong(400, "malformed", "The body is not JSON.") from None
    if not key or not isinstance(body, dict) or not isinstance(body.get("input"), dict):
        raise Wrong(400, "malformed", "Send an Idempotency-Key and a JSON object.")
    return key, str(body.get("model")), body["input"]


def wanted(request: web.Request) -> Job:
    job = request.app[LAB].jobs.get(request.match_info["id"])
    if job is None:
        body = json.dumps({"error": {"code": "unknown_job", "message": "There is no such job."}})
        raise web.HTTPNotFound(text=body, content_type="application/json")
    return job


async def get_job(request: web.Request) -> web.Response:
    return web.json_response(shown(wanted(request)))


async def cancel_job(request: web.Request) -> web.Response:
    job = wanted(request)
    if not job.done():
        job.cancelled = True
        request.app[LAB].counted["cancelled"] += 1
    return web.json_response(shown(job))


async def get_file(request: web.Request) -> web.Response:
    job_id, _, rest = request.match_info["name"].partition("-")
    job = request.app[LAB].jobs.get(job_id)
    index = rest.partition(".")[0]
    if job is None or not job.files or not index.isdigit() or int(index) >= len(job.files):
        raise web.HTTPNotFound
    return web.Response(body=job.files[int(index)], content_type=job.content_type())


async def get_stats(request: web.Request) -> web.Response:
    return web.json_response({"posts": 0, "jobs": 0, "cancelled": 0} | request.app[LAB].counted)


def application() -> web.Application:
    app = web.Application(client_max_size=1024 * 1024)
    app[LAB] = Lab()
    app.add_routes(
        [
            web.post("/v1/jobs", post_job),
            web.get("/v1/jobs/{id}", get_job),
            web.post("/v1/jobs/{id}/cancel", cancel_job),
            web.get("/v1/files/{name}", get_file),
            web.get("/v1/stats", get_stats),
            web.get("/healthz", get_stats),
        ]
    )
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partners.rehearsal", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    web.run_app(application(), host=options.host, port=options.port, access_log=None)


if __name__ == "__main__":
    main()
