"""Every address of the hot path, called by nobody, with a revoked key, and by another team."""

import re
from typing import Any
from uuid import UUID, uuid4

import pytest

from marketplace import ids
from marketplace.accounts import keys
from marketplace.catalog.models import Release
from marketplace.dialects.contract import Route
from marketplace.hot.app import SURFACES
from tests.conftest import Person
from tests.marketplace.web import Answer, Client

STILL: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
# Read without a key, as their own services have it: health, what a provider's model is called,
# signing keys and descriptions; what a ticket in the address opens; a proxy to the other addresses.
OPEN = re.compile(
    r"/healthz|/hf/api/.*|.*jwks.*|.*openapi.*|.*/streams/.*|.*/meta|/fal/api/v1/models|/fal/proxy"
)
PARAMETER = re.compile(r"\{(\w+)(:path)?\}")
RUN_NAMES = ("run", "video_id", "request_id")
STAMPS = re.compile(rb"(req|run)_[0-9a-z]{26}")

# A browser asks by OPTIONS whether it may ask, without a key.
ROUTES = [r for surface in SURFACES for r in surface.routes if r.method != "OPTIONS"]
CLOSED = [route for route in ROUTES if not OPEN.fullmatch(route.pattern)]


def named(route: Route) -> str:
    return f"{route.method} {route.pattern}"


def address(route: Route, run: str) -> str:
    """The route's path, with a run in it where it has one."""

    def value(parameter: re.Match[str]) -> str:
        if parameter[1] in RUN_NAMES:
            return run
        return "rehearsal/still" if parameter[2] else "rehearsal"

    return PARAMETER.sub(value, route.pattern)


def ask(web: Client, route: Route, run: str, key: str | None) -> Answer:
    body = {} if route.method in ("POST", "PUT", "PATCH", "QUERY") else None
    return web.call(route.method, address(route, run), body, key=key)


@pytest.mark.parametrize("route", CLOSED, ids=named)
def test_nobody_gets_in_without_a_key_that_holds(web: Client, ada: Person, route: Route) -> None:
    run = ids.public("run", uuid4())
    keys.revoke(key=ada.key)
    for key in (None, ada.text, "kin_live_nonsense"):
        assert ask(web, route, run, key).status == 401


OWNED = [
    route
    for route in CLOSED
    if any(parameter[0] in RUN_NAMES for parameter in PARAMETER.findall(route.pattern))
]


def test_there_are_addresses_of_runs_in_every_dialect() -> None:
    prefixes = {route.pattern.split("/")[1] for route in OWNED}
    assert prefixes >= {"api", "fal", "replicate", "v1"}


@pytest.mark.parametrize("route", OWNED, ids=named)
def test_another_teams_run_is_one_that_never_was(
    web: Client, ada: Person, cy: Person, still: Release, route: Route
) -> None:
    run = web.run(STILL, key=ada.text).json["id"]
    theirs = ask(web, route, run, cy.text)
    never = ask(web, route, ids.public("run", UUID(int=uuid4().int)), cy.text)
    assert 400 <= theirs.status < 500
    assert (theirs.status, STAMPS.sub(b"", theirs.body)) == (
        never.status,
        STAMPS.sub(b"", never.body),
    )
    assert theirs.headers.keys() == never.headers.keys()
    assert web.get(f"/api/v1/runs/{run}", key=ada.text).json["state"] == "queued"
