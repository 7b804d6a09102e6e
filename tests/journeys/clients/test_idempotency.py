"""Every POST of every dialect: the same Idempotency-Key is the same answer, once.

The list is the routes' and Django's own, so that a new address must be tried here as well.
"""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from marketplace.accounts import keys
from marketplace.api_urls import urlpatterns
from marketplace.hot.app import SURFACES
from tests.marketplace.media import samples
from tests.receiver import receiving
from tests.running import Stack

QUICK: dict[str, Any] = {"latency_ms": 0}
INPUT = QUICK | {"prompt": "a paper lantern"}
STILL, BLEND = {"model": "rehearsal/still"}, {"model": "rehearsal/blend"}
TINT = QUICK | {"model": "rehearsal/tint"}
CLIP = {"model": "rehearsal/clip", "prompt": "dusk", "seconds": "1"} | QUICK
WORKERS = "/fleet/"  # their door, where attempt numbers fence what is said twice
LABS = "/api/v1/lab/"  # an invoice has a reference, a release one open proposal per kind
NOTICES = "/labs/"  # word of a job, which only wakes who asks after it
RUN_ID = re.compile(rb"run_[0-9a-z]{26}")
PARAMETER = re.compile(r"[{<](?:str:|path:)?(\w+)(?::path)?[}>]")


@dataclass(frozen=True)
class Form:
    """A multipart form, whose boundary is another each time, as clients have it."""

    fields: Mapping[str, Any]
    name: str = ""
    file: bytes = b""

    def written(self) -> tuple[bytes, str]:
        mark = uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in self.fields.items()
        ]
        if self.name:
            said = f'name="{self.name}"; filename="a.png"\r\nContent-Type: image/png'
            head = f"--{mark}\r\nContent-Disposition: form-data; {said}\r\n\r\n"
            parts.append(head.encode() + self.file + b"\r\n")
        end = f"--{mark}--\r\n".encode()
        return b"".join(parts) + end, f"multipart/form-data; boundary={mark}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def run(self) -> bytes:
        """The run that the answer is about, else all of its words."""
        said = self.headers.get("x-fal-request-id", "").encode() + self.body
        return found[0] if (found := RUN_ID.search(said)) else self.body


@dataclass(frozen=True)
class Caller:
    """Posts JSON, bytes or forms to a stack."""

    stack: Stack

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        kind = "application/json"
        if isinstance(body, Form):
            body, kind = body.written()
        elif isinstance(body, bytes):
            kind = "image/png"
        else:
            body = json.dumps(body).encode()
        said = {"Authorization": f"Bearer {self.stack.key}", "Content-Type": kind}
        asked = urllib.request.Request(self.stack.url + path, body, said | headers)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, dict(refusal.headers), refusal.read())

    def made(self, path: str, body: Any) -> Any:
        answer = self.post(path, body)
        assert answer.status < 300, answer.body
        return json.loads(answer.body)


PICTURE, OTHER = samples.picture(), samples.picture(shade=90)
EDIT = {"prompt": "a", "response_format": "url"} | BLEND | QUICK
HOOK = {"url": "https://example.com/hook", "event_types": ["run.finished"]}
NAMED_HOOK = {"name": "a", "url": "https://example.com/b", "event_types": ["video.completed"]}
BUDGET = {"kind": "project", "limit": "9"}
RUN = {"inputs": INPUT} | STILL
PREDICT = {"input": INPUT}
ESTIMATE = {"rehearsal/still": {"unit_quantity": 2}}
WEEK = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-08T00:00:00Z"}
# Address → a body that it takes. None: it refuses whatever is sent, so there is nothing to repeat.
BODIES: dict[str, Any] = {
    "/api/v1/runs": RUN,
    "/api/v1/runs/{run}/cancel": {},
    "/api/v1/files": PICTURE,
    "/api/v1/uploads": {},
    "/fal/run/{model}/stream": INPUT,
    "/fal/run/{model}": INPUT,
    "/fal/queue/{model}": INPUT,
    "/fal/proxy": INPUT,
    "/fal/rest/storage/auth/token": {},
    "/fal/rest/storage/upload/initiate": {"file_name": "a.png", "content_type": "image/png"},
    "/fal/rest/storage/upload/initiate-multipart": {"file_name": "a", "content_type": "image/png"},
    "/fal/cdn/files/upload": PICTURE,
    "/fal/cdn/files/upload/multipart": {},
    "/fal/rest/tokens/": {"allowed_apps": ["still"]},
    "/fal/rest/tokens/realtime": {"allowed_apps": ["still"]},
    "/fal/api/v1/keys": {"alias": "one"},
    "/fal/api/v1/models/pricing/estimate": {"estimate_type": "unit_price", "endpoints": ESTIMATE},
    "/replicate/v1/predictions": PREDICT | {"version": "rehearsal/still"},
    "/replicate/v1/predictions/{run}/cancel": {},
    "/replicate/v1/models/{owner}/{name}/predictions": PREDICT,
    "/replicate/v1/deployments/{owner}/{name}/predictions": PREDICT,
    "/replicate/v1/files": Form({}, "content", PICTURE),
    "/replicate/v1/models": None,
    "/replicate/v1/deployments": None,
    "/replicate/v1/models/{owner}/{name}/versions/{version}/trainings": None,
    "/replicate/v1/trainings/{training}/cancel": None,
    "/v1/images/generations": {"response_format": "url"} | INPUT | STILL,
    "/v1/images/edits": Form(EDIT, "image", PICTURE),
    "/v1/images/variations": Form(BLEND | QUICK | {"response_format": "url"}, "image", PICTURE),
    "/v1/videos": Form(CLIP),
    "/v1/videos/edits": {"video": {"id": "{clip}"}, "prompt": "at night", "model": "rehearsal/tint"}
    | QUICK,
    "/v1/videos/extensions": None,
    "/v1/videos/characters": None,
    "/v1/videos/{video_id}/remix": {"prompt": "dawn"},
    "/v1/webhook_endpoints": NAMED_HOOK,
    "/v1/webhook_endpoints/{endpoint}": {"name": "b"},
    "/v1/webhook_endpoints/{endpoint}/rotate_secret": {},
    "/v1/webhook_endpoints/{endpoint}/test": {"event_type": "video.completed"},
    "/hf/models/{model}": {"inputs": "a paper lantern", "parameters": QUICK},
    "/api/v1/keys": {"name": "two"},
    "/api/v1/budgets": BUDGET | {"subject": uuid4().hex},
    "/api/v1/budgets/{budget}/reopen": {},
    "/api/v1/quotes": RUN,
    "/api/v1/runs/{run}/refunds": {"reason": "other", "note": "grey"},
    "/api/v1/webhooks": HOOK,
    "/api/v1/webhooks/secret": {},
    "/api/v1/webhooks/replay": WEEK,
    "/api/v1/webhooks/deliveries/{delivery}/replay": {},
    "/api/v1/webhooks/{endpoint}/rotate": {},
    "/api/v1/webhooks/{endpoint}/test": {},
}
FAL_HOST = {"x-fal-target-url": "https://queue.fal.run/rehearsal/still"}


def plain(pattern: str) -> str:
    return PARAMETER.sub(r"{\1}", pattern)


def addresses() -> list[str]:
    """All that take a POST, of the hot path and of Django's API."""
    hot = {r.pattern for surface in SURFACES for r in surface.routes if r.method == "POST"}
    views = {f"/api/{found.pattern}": vars(found.callback)["cls"] for found in urlpatterns}
    slow = {path for path, view in views.items() if hasattr(view, "post")}
    own = (WORKERS, LABS, NOTICES)
    return sorted(plain(each) for each in hot | slow if not each.startswith(own))


def test_every_address_that_takes_a_post_is_tried() -> None:
    assert set(BODIES) == set(addresses())


@dataclass(frozen=True)
class Things:
    """What addresses name: made once, by the same caller."""

    values: Mapping[str, str]

    def __call__(self, text: str) -> str:
        return PARAMETER.sub(lambda found: self.values.get(found[1], found[0]), text)


@pytest.fixture(scope="module")
def caller(stack: Stack) -> Iterator[Caller]:
    """With a key that may do everything, as long as these tests last."""
    sql = "UPDATE accounts_apikey SET scopes = %s WHERE digest = %s"
    with psycopg.connect(stack.conninfo, autocommit=True) as link:
        link.execute(sql, [json.dumps(keys.SCOPES), keys.digest(stack.key)])
        found, until = Caller(stack), time.monotonic() + 10
        while found.post("/fal/api/v1/keys", {}).status == 403:  # it was known with fewer
            assert time.monotonic() < until
            time.sleep(0.2)
        yield found
        link.execute(sql, [json.dumps(keys.USUAL), keys.digest(stack.key)])


@pytest.fixture(scope="module")
def things(caller: Caller) -> Iterator[Things]:
    with receiving() as receiver:
        yield made_by(caller, receiver.url("/hook"))


def made_by(caller: Caller, hook: str) -> Things:
    run = caller.made("/api/v1/runs", RUN | {"wait": 30})["id"]
    short = {"model": "rehearsal/clip", "inputs": {"prompt": "a", "seconds": 1} | QUICK}
    clip = caller.made("/api/v1/runs", short | {"wait": 30})["id"]
    endpoint = caller.made("/api/v1/webhooks", HOOK | {"url": hook})["id"]
    budget = caller.made("/api/v1/budgets", BUDGET | {"subject": uuid4().hex})["id"]
    delivery = caller.made(f"/api/v1/webhooks/{endpoint}/test", {})["id"]
    return Things(
        {
            "run": run,
            "video_id": clip,
            "clip": clip,
            "endpoint": endpoint,
            "budget": budget,
            "delivery": delivery,
            "model": "rehearsal/still",
            "owner": "rehearsal",
            "name": "still",
        }
    )


def other(body: Any) -> Any:
    """Another body, which the address may like or not."""
    if isinstance(body, bytes):
        return OTHER
    if isinstance(body, Form):
        fields = body.fields if body.name else {**body.fields, "prompt": "b"}
        return Form(fields, body.name, OTHER)
    changed = dict(body)
    for place in (changed, changed.get("input"), changed.get("inputs")):
        if isinstance(place, dict) and "prompt" in place:
            return json.loads(json.dumps(body).replace(place["prompt"], "something else"))
    return changed | {"inputs" if "parameters" in changed else "note": "something else"}


@pytest.mark.parametrize("path", BODIES)
def test_the_same_key_is_the_same_answer_and_another_body_is_refused(
    caller: Caller, things: Things, path: str
) -> None:
    once = {"Idempotency-Key": str(uuid4()), **(FAL_HOST if path == "/fal/proxy" else {})}
    body = BODIES[path]
    if isinstance(body, dict):
        body = json.loads(things(json.dumps(body)))
    first, again = (caller.post(things(path), body or {}, **once) for _ in range(2))
    if BODIES[path] is None:
        assert first.status == again.status >= 400
        return
    assert first.status < 300, first.body
    assert again.status in (first.status, 200)
    assert again.run() == first.run()
    conflict = caller.post(things(path), other(body), **once)
    assert conflict.status in (400, 422), conflict.body
    assert b"Idempotency-Key" in conflict.body


@pytest.mark.parametrize("path", [path for path, body in BODIES.items() if body is not None])
def test_a_key_that_is_none_is_refused(caller: Caller, things: Things, path: str) -> None:
    once = {"Idempotency-Key": "two words", **(FAL_HOST if path == "/fal/proxy" else {})}
    refused = caller.post(things(path), BODIES[path], **once)
    assert refused.status in (400, 422)
    assert b"Idempotency-Key" in refused.body
