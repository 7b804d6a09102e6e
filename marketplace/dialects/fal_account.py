"""fal's platform API of the account: its keys, what is left to spend, where webhooks come from.

What fal calls an ADMIN key is one here that has the scope `manage`.
"""

from decimal import Decimal
from typing import Any

from django.conf import settings

from marketplace import body, errors, ids
from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey
from marketplace.dialects.contract import Desk, Reply, Request, Route
from marketplace.dialects.fal_lists import listed, more, page_size
from marketplace.dialects.orm import of_key
from marketplace.ledger.balance import balance
from marketplace.money import NANO

BASE = "/fal/api/v1"
LONGEST_ALIAS = 80
Json = dict[str, Any]


# ── keys ──────────────────────────────────────────────────────────────────────────────────────


async def listing(desk: Desk, request: Request) -> Reply:
    """The team's keys that are not revoked, newest first."""
    limit, cursor = page_size(request), request.query.get("cursor")
    before = ids.private("key", cursor) if cursor else None
    if cursor and before is None:
        raise errors.InvalidInput("cursor must be a next_cursor of this list.", param="cursor")
    creators = "creator_info" in listed(request, "expand")

    def read(own: ApiKey) -> list[Json]:
        found = own.team.keys.filter(revoked_at=None).select_related("created_by").order_by("-id")
        older = found.filter(id__lt=before) if before else found
        return [shown(key, creators=creators) for key in older[: limit + 1]]

    found = await of_key(desk, request, "manage", read)
    page = found[:limit]
    return Reply({"keys": page, **more(page, len(found) > limit, "key_id")})


def shown(key: ApiKey, *, creators: bool) -> Json:
    told = {
        "key_id": key.public_id,
        "alias": key.name,
        "scope": "ADMIN" if "manage" in key.scopes else "API",
        "created_at": key.created_at.isoformat(),
    }
    if creators and key.created_by:
        email = key.created_by.email
        told |= {"creator_nickname": email.partition("@")[0], "creator_email": email}
    return told


async def create(desk: Desk, request: Request) -> Reply:
    """A key that runs and reads. Its secret is in this answer and nowhere else."""
    await desk.caller(request, needs="manage")
    alias = body.read(request.body).get("alias")
    if not isinstance(alias, str) or not 1 <= len(alias.strip()) <= LONGEST_ALIAS:
        raise errors.InvalidInput(
            f"alias must have 1 to {LONGEST_ALIAS} characters.", param="alias"
        )

    def make(own: ApiKey) -> Json:
        keys.within(own, keys.USUAL)
        made, secret = keys.create(team=own.team, name=alias.strip(), created_by=own.created_by)
        return {
            "key_id": made.public_id,
            "key_secret": secret,
            "key": f"{made.public_id}:{secret}",
        }

    return Reply(await of_key(desk, request, "manage", make), 201)


async def revoke(desk: Desk, request: Request, key: str) -> Reply:
    """End a key within two seconds, everywhere; again does no harm."""
    key_id = ids.private("key", key)

    def end(own: ApiKey) -> None:
        found = own.team.keys.filter(id=key_id).first() if key_id else None
        if found is None:
            raise errors.NotFound("There is no such key.", param="key_id")
        keys.within(own, found.scopes)
        keys.revoke(key=found)

    await of_key(desk, request, "manage", end)
    return Reply(b"", 204, {"content-type": "application/json"})


# ── money and where webhooks come from ────────────────────────────────────────────────────────


async def billing(desk: Desk, request: Request) -> Reply:
    """What can be spent now, where `expand` asks for it."""
    caller = await desk.caller(request, needs="manage")
    told: Json = {"username": (await desk.team(caller.team_id))["name"]}
    if "credits" in listed(request, "expand"):
        left = await of_key(desk, request, "manage", lambda own: balance(own.team_id))
        worth = float(Decimal(left.available) / NANO)
        told["credits"] = {"current_balance": worth, "currency": left.currency}
    return Reply(told)


async def meta(_desk: Desk, _request: Request) -> Reply:
    """Read without a key, by those who let our webhooks through their walls."""
    return Reply({"webhook_ip_ranges": settings.WEBHOOK_IP_RANGES})


ROUTES = (
    Route("GET", f"{BASE}/keys", listing),
    Route("POST", f"{BASE}/keys", create),
    Route("DELETE", f"{BASE}/keys/{{key}}", revoke),
    Route("GET", f"{BASE}/account/billing", billing),
    Route("GET", f"{BASE}/meta", meta),
)
