"""OpenAI's API of webhook endpoints: the team's own endpoints, in that client's words.

Not on the way of any run, so these few calls use Django's connection, in a thread.
"""

import asyncio
from typing import Any

from marketplace import body, errors
from marketplace.accounts.models import Team
from marketplace.dialects.contract import Desk, Reply, Request, Route, Row
from marketplace.dialects.orm import of_team, reached
from marketplace.webhooks import endpoints, schemes
from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.view import owned_endpoint

TEST_SECONDS, TEST_STEP = 18.0, 0.1
LARGEST_PAGE = 100
FIELDS = ("url", "name", "event_types")


async def create(desk: Desk, request: Request) -> Reply:
    """An endpoint with its secret, which is in no other answer."""
    await desk.caller(request, needs="run")
    said = fields(request)
    for name in FIELDS:
        if not said.get(name):
            raise errors.InvalidInput(f"{name} is required.", param=name)

    def make(team: Team) -> Row:
        made, secret = endpoints.create(team=team, **said)
        return shown(made) | {"signing_secret": secret}

    return await of_team(desk, request, "run", make)


async def listing(desk: Desk, request: Request) -> Reply:
    """Oldest first, a page at a time."""
    limit = request.query.get("limit", "20")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= LARGEST_PAGE:
        raise errors.InvalidInput(f"limit must be from 1 to {LARGEST_PAGE}.", param="limit")
    after = request.query.get("after")

    def read(team: Team) -> Row:
        found = [shown(endpoint) for endpoint in team.endpoints.all()]
        if after is not None:
            owned_endpoint(team, after)
            found = found[[one["id"] for one in found].index(after) + 1 :]
        page = found[: int(limit)]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(found) > len(page),
        }

    return await of_team(desk, request, "read", read)


async def read(desk: Desk, request: Request, endpoint: str) -> Reply:
    return await of_team(desk, request, "read", lambda team: shown(owned_endpoint(team, endpoint)))


async def update(desk: Desk, request: Request, endpoint: str) -> Reply:
    said = fields(request)

    def change(team: Team) -> Row:
        return shown(endpoints.change(endpoint=owned_endpoint(team, endpoint), **said))

    return await of_team(desk, request, "run", change)


async def delete(desk: Desk, request: Request, endpoint: str) -> Reply:
    def remove(team: Team) -> Row:
        endpoints.remove(endpoint=owned_endpoint(team, endpoint))
        return {"id": endpoint, "object": "webhook_endpoint.deleted", "deleted": True}

    return await of_team(desk, request, "run", remove)


async def rotate(desk: Desk, request: Request, endpoint: str) -> Reply:
    """A new secret. The one before ends at once, unless the body keeps it for a day."""
    keep = given(request).get("keep_old_secret_active_for_24_hours") or False
    if not isinstance(keep, bool):
        raise errors.InvalidInput(
            "keep_old_secret_active_for_24_hours must be true or false.",
            param="keep_old_secret_active_for_24_hours",
        )

    def turn(team: Team) -> Row:
        found = owned_endpoint(team, endpoint)
        secret = endpoints.rotate(endpoint=found, keep=keep)
        return shown(found) | {"signing_secret": secret}

    return await of_team(desk, request, "run", turn)


async def test(desk: Desk, request: Request, endpoint: str) -> Reply:
    """Send a sample and tell how its first try went. Raises Conflict where there was no answer."""
    await desk.caller(request, needs="run")
    word = given(request).get("event_type")
    if word not in schemes.TYPES:
        raise errors.InvalidInput(
            f"event_type must be one of {', '.join(schemes.TYPES)}.", param="event_type"
        )
    caller = await desk.caller(request, needs="run")

    def send() -> Delivery:
        team = Team.objects.get(id=caller.team_id)
        return endpoints.send_test(endpoint=owned_endpoint(team, endpoint), word=word)

    status = await first_status(await reached(send))
    return Reply(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": endpoint,
            "event_type": word,
            "status_code": status,
            "success": True,
        }
    )


async def first_status(sent: Delivery) -> int:
    """What the first try was answered. Raises Conflict where it was not."""
    for _ in range(int(TEST_SECONDS / TEST_STEP)):
        await asyncio.sleep(TEST_STEP)
        first = await reached(lambda: sent.attempts.filter(ended_at__isnull=False).first())
        if first and first.status:
            return int(first.status)
        if first:
            raise errors.Conflict(f"The test did not arrive. {first.error}", param="url")
    raise errors.Conflict("The test still waits to be sent. Its log shows what becomes of it.")


async def event_types(desk: Desk, request: Request) -> Reply:
    await desk.caller(request, needs="read")
    return Reply({"object": "list", "data": list(schemes.TYPES)})


def given(request: Request) -> Row:
    return body.read(request.body) if request.body else {}


def fields(request: Request) -> dict[str, Any]:
    """Those fields of an endpoint that the body names."""
    said = given(request)
    return {name: said[name] for name in FIELDS if said.get(name) is not None}


def shown(endpoint: Endpoint) -> Row:
    changed = endpoint.rotated_at or endpoint.created_at
    return {
        "id": endpoint.public_id,
        "object": "webhook_endpoint",
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "created_at": int(endpoint.created_at.timestamp()),
        "updated_at": int(changed.timestamp()),
        "signing_secret_hint": f"whsec_…{endpoints.secret(endpoint)[-4:]}",
    }


ENDPOINTS = "/v1/webhook_endpoints"
ROUTES = (
    Route("POST", ENDPOINTS, create),
    Route("GET", ENDPOINTS, listing),
    Route("GET", f"{ENDPOINTS}/{{endpoint}}", read),
    Route("POST", f"{ENDPOINTS}/{{endpoint}}", update),
    Route("DELETE", f"{ENDPOINTS}/{{endpoint}}", delete),
    Route("POST", f"{ENDPOINTS}/{{endpoint}}/rotate_secret", rotate),
    Route("POST", f"{ENDPOINTS}/{{endpoint}}/test", test),
    Route("GET", "/v1/webhook_event_types", event_types),
)
