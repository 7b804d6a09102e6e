"""Every address of every API, called by nobody, with a revoked key, and by another team or lab.

The addresses are those that the router and Django know, so a new one is asked without being named.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from marketplace import ids
from marketplace.access.models import Budget
from marketplace.accounts import keys
from marketplace.catalog import lab_keys
from marketplace.catalog.models import Lab, Release
from marketplace.hot.app import SURFACES
from marketplace.payouts.close import close, month_of
from marketplace.payouts.propose import propose
from marketplace.runs.models import Run
from marketplace.webhooks import endpoints
from tests.conftest import Person
from tests.journeys.books import written
from tests.marketplace import worker
from tests.marketplace.media import samples
from tests.marketplace.web import Answer, Client

STILL: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
# Read without a key, as their own services have it: health, what a provider's model is called,
# signing keys and descriptions; what a ticket in the address opens; a proxy to the other addresses.
OPEN = re.compile(
    r"/healthz|/hf/api/.*|.*jwks.*|.*openapi.*|.*/streams/.*|.*/meta|/fal/api/v1/models|/fal/proxy"
    r"|/labs/.*"  # a lab tells of a run at an address that only it was told
    r"|/api/v1/(models(/\{model\})?|prices|quotes)"
)
PARAMETER = re.compile(r"\{(\w+)(:path)?\}")
DJANGOS = re.compile(r"<(?:\w+:)?(\w+)>")
METHODS = ("get", "post", "put", "patch", "delete")
STAMPS = re.compile(rb"[a-z]+_[0-9a-z]{26}")
USUAL = {"version": "1", "field": "api_key"}  # a number, a word: no ids
LABS = "/api/v1/lab"  # what a lab's key opens, and no team's


@dataclass(frozen=True)
class Address:
    """pattern: with `{name}` where something is named."""

    method: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"

    def names(self) -> set[str]:
        return {name for name, _ in PARAMETER.findall(self.pattern)}

    def ask(self, web: Client, key: str | None, things: Mapping[str, str]) -> Answer:
        """things: parameter → the id of what is meant."""

        def value(parameter: re.Match[str]) -> str:
            usual = "rehearsal/still" if parameter[2] else "rehearsal"
            return things.get(parameter[1], USUAL.get(parameter[1], usual))

        body = {} if self.method in ("POST", "PUT", "PATCH", "QUERY") else None
        return web.call(self.method, PARAMETER.sub(value, self.pattern), body, key=key)


def of_hot_path() -> Iterator[Address]:
    """A browser asks by OPTIONS whether it may ask, without a key."""
    for surface in SURFACES:
        yield from (Address(r.method, r.pattern) for r in surface.routes if r.method != "OPTIONS")


def of_django() -> Iterator[Address]:
    for pattern, view in under("/api/", "/", get_resolver().url_patterns):
        known = getattr(view, "cls", None) or getattr(view, "view_class", None)
        for method in METHODS:
            if known and hasattr(known, method):
                yield Address(method.upper(), DJANGOS.sub(r"{\1}", pattern))


def under(prefix: str, path: str, patterns: list[Any]) -> Iterator[tuple[str, Any]]:
    """Path and view of what is below a prefix."""
    for found in patterns:
        whole = path + str(found.pattern)
        if isinstance(found, URLResolver):
            yield from under(prefix, whole, found.url_patterns)
        elif isinstance(found, URLPattern) and whole.startswith(prefix):
            yield whole, found.callback


ALL = sorted({*of_hot_path(), *of_django()}, key=str)
CLOSED = [address for address in ALL if not OPEN.fullmatch(address.pattern)]


@pytest.fixture
def things(web: Client, ada: Person, still: Release) -> dict[str, str]:
    """Parameter → the id of something of Ada's, of each kind that an address can name."""
    run = web.run(STILL, key=ada.text).json["id"]
    worker.succeed(*worker.claim())
    waiting = web.run(STILL, key=ada.text).json["id"]
    made = Run.objects.get(id=ids.private("run", run)).outputs.get()
    file = web.call(
        "POST", "/api/v1/files", samples.picture(), key=ada.text,
        headers={"Content-Type": "application/octet-stream"},
    ).json["id"]  # fmt: skip
    budget = web.call(
        "POST", "/api/v1/budgets", {"kind": "team", "limit": "25.00"}, key=ada.text
    ).json["id"]
    endpoint, _ = endpoints.create(
        team=ada.team, url="https://example.com/hooks", event_types=["run.finished"], name="hooks"
    )
    sent = endpoints.send_test(endpoint=endpoint, word="run.finished")
    return dict.fromkeys(("run", "video_id"), waiting) | {
        "file": file,
        "key": ada.key.public_id,
        "budget": budget,
        "endpoint": endpoint.public_id,
        "delivery": sent.public_id,
        "output": ids.public("out", made.id),
    }


@pytest.fixture
def lab_things(still: Release) -> dict[str, str]:
    """The same of the lab `rehearsal`."""
    key, _ = lab_keys.create(lab=still.model.lab, name="its first", role="owner")
    month = month_of(timezone.now())
    start = timezone.now() + timedelta(days=90)
    lines = [{"unit": "image", "unit_price": "0.003"}]
    wish = propose(release=still, kind="price", lines=lines, effective_from=start)
    closed = close(lab=still.model.lab, end=month)
    made = {"lab_key": key, "statement": closed, "proposal": wish}
    return {name: found.public_id for name, found in made.items()} | USUAL


def test_the_addresses_are_those_of_all_our_apis() -> None:
    found = {str(address) for address in ALL}
    assert {
        "POST /api/v1/runs", "POST /fal/queue/{model:path}", "POST /replicate/v1/predictions",
        "QUERY /replicate/v1/models", "POST /v1/videos", "POST /hf/models/{model:path}",
        "DELETE /api/v1/keys/{key}", "GET /api/v1/usage", "POST /api/v1/budgets/{budget}/reopen",
        "DELETE /fal/api/v1/keys/{key}", "POST /api/v1/runs/{run}/refunds",
    } <= found  # fmt: skip
    assert len(CLOSED) > 110
    assert "DELETE /api/v1/lab/keys/{lab_key}" in {str(address) for address in labs()}


def labs() -> list[Address]:
    return [a for a in CLOSED if a.pattern == LABS or a.pattern.startswith(f"{LABS}/")]


def test_teams_keys_open_nothing_of_labs_nor_labs_keys_of_teams(
    web: Client, ada: Person, things: dict[str, str], lab_things: dict[str, str]
) -> None:
    _, of_lab = lab_keys.create(lab=Lab.objects.get(), name="x", role="owner")
    old, revoked = lab_keys.create(lab=Lab.objects.get(), name="y", role="owner")
    lab_keys.revoke(key=old)
    before, wrong = written(ada), []
    for address in CLOSED:
        named = things | lab_things
        tried = (ada.text, revoked) if address in labs() else (of_lab,)
        wrong += [str(address) for text in tried if address.ask(web, text, named).status != 401]
    assert not wrong, wrong
    assert written(ada) == before


def test_what_is_another_labs_is_what_never_was(web: Client, lab_things: dict[str, str]) -> None:
    other = Lab.objects.create(slug="other", name="Other")
    _, text = lab_keys.create(lab=other, name="theirs", role="owner")
    owned = [address for address in labs() if address.names()]
    named = {name for address in owned for name in address.names()}
    assert named <= lab_things.keys(), "give `lab_things` one of each"
    wrong = []
    for address in owned:
        theirs = address.ask(web, text, lab_things)
        never = address.ask(web, text, {name: fresh(said) for name, said in lab_things.items()})
        if not 400 <= theirs.status < 500 or told(theirs) != told(never):
            wrong.append((str(address), theirs.status, never.status))
        if address.method in ("GET", "DELETE") and theirs.status != 404:
            wrong.append((str(address), theirs.status, "not found"))
    assert not wrong, wrong


def test_nobody_gets_in_without_a_key_that_holds(
    web: Client, ada: Person, things: dict[str, str]
) -> None:
    key, revoked = keys.create(team=ada.team, name="old", scopes=keys.SCOPES)
    keys.revoke(key=key)
    before = written(ada)
    wrong = [
        (str(address), text, answer.status)
        for address in CLOSED
        for text in (None, revoked)
        for answer in [address.ask(web, text, things)]
        if answer.status != 401
    ]
    assert not wrong, wrong
    assert written(ada) == before


def test_a_key_that_does_not_hold_opens_nothing_that_is_open(web: Client, ada: Person) -> None:
    """Where none is needed, a wrong one is told so all the same, if it is looked at at all."""
    keys.revoke(key=ada.key)
    told = web.get("/api/v1/models", key=ada.text)
    assert told.status == 401


def test_what_is_another_teams_is_what_never_was(
    web: Client, ada: Person, cy: Person, things: dict[str, str]
) -> None:
    owned = [address for address in CLOSED if address.names() & things.keys()]
    assert {name for address in owned for name in address.names()} >= things.keys()
    before, wrong = written(ada), []
    for address in owned:
        theirs = address.ask(web, cy.text, things)
        never = address.ask(web, cy.text, {name: fresh(said) for name, said in things.items()})
        if not 400 <= theirs.status < 500 or told(theirs) != told(never):
            wrong.append((str(address), theirs.status, never.status))
        if address.method in ("GET", "DELETE") and theirs.status != 404:
            wrong.append((str(address), theirs.status, "not found"))
    assert not wrong, wrong
    assert written(ada) == before
    assert not Budget.objects.exclude(closed_at=None).exists()
    assert web.get(f"/api/v1/runs/{things['run']}", key=ada.text).json["state"] == "queued"
    assert web.get(f"/api/v1/files/{things['file']}", key=ada.text).status == 200
    assert web.get(f"/api/v1/webhooks/{things['endpoint']}", key=ada.text).status == 200


def fresh(known: str) -> str:
    """An id of the same kind that nobody has."""
    prefix, _, body = known.partition("_")
    return ids.public(prefix, UUID(int=uuid4().int)) if len(body) == ids.LENGTH else known


def told(answer: Answer) -> tuple[int, bytes, set[str]]:
    """All that a stranger can tell answers apart by, less the ids that were asked for."""
    return answer.status, STAMPS.sub(b"", answer.body), set(answer.headers)
