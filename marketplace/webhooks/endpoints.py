"""A team's endpoints: make, change, turn the secret, test, remove.

A secret is shown when it is made or turned and never again. For a day after a turn both sign.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.errors import Conflict, InvalidInput
from marketplace.webhooks import queue, schemes, secrets
from marketplace.webhooks.models import Delivery, Endpoint, TeamSecret
from marketplace.webhooks.schemes import Event
from marketplace.webhooks.targets import callable_url

MOST = 20  # of a team
LONGEST_NAME = 80
TEST = "webhook.test"


@transaction.atomic
def create(*, team: Team, url: Any, event_types: Any, name: Any = "") -> tuple[Endpoint, str]:
    """A new endpoint and its secret. Raises InvalidInput, Conflict."""
    checked = {"url": url, "event_types": event_types, "name": name}
    fields = {field: CHECKS[field](value) for field, value in checked.items()}
    Team.objects.select_for_update().get(id=team.id)
    if team.endpoints.count() >= MOST:
        raise Conflict(f"A team has at most {MOST} endpoints. Remove one first.")
    endpoint = Endpoint.objects.create(team=team, **fields)
    return endpoint, secret(endpoint)


@transaction.atomic
def change(*, endpoint: Endpoint, **changes: Any) -> Endpoint:
    """Change url, event_types, name or disabled. What still waits goes to the new address.

    Raises InvalidInput.
    """
    fields = {field: CHECKS[field](value) for field, value in changes.items()}
    if "disabled" in fields:
        fields |= switched(endpoint, off=fields.pop("disabled"))
    Endpoint.objects.filter(id=endpoint.id).update(**fields)
    endpoint.refresh_from_db()
    waiting = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.PENDING)
    if endpoint.disabled_at:
        waiting.update(state=Delivery.State.DEAD, ended_at=timezone.now())
    elif "url" in fields:
        waiting.update(url=endpoint.url, host=queue.host(endpoint.url))
    return endpoint


def switched(endpoint: Endpoint, *, off: bool) -> dict[str, Any]:
    """The fields of an endpoint that its team turns off or on."""
    if not off:
        return {"disabled_at": None, "disabled_reason": "", "failing_since": None}
    if endpoint.disabled_at:
        return {}
    return {"disabled_at": timezone.now(), "disabled_reason": Endpoint.Reason.ASKED}


def checked_types(value: Any) -> list[str]:
    known = list(schemes.TYPES)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InvalidInput(f"event_types must be some of {', '.join(known)}.", param="event_types")
    if any(each not in known for each in value):
        raise InvalidInput(f"event_types must be some of {', '.join(known)}.", param="event_types")
    return [each for each in known if each in value]


def checked_name(value: Any) -> str:
    if not isinstance(value, str) or len(value.strip()) > LONGEST_NAME:
        raise InvalidInput(f"name must have at most {LONGEST_NAME} characters.", param="name")
    return value.strip()


def checked_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("disabled must be true or false.", param="disabled")
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {
    "url": lambda value: callable_url(value, "url"),
    "event_types": checked_types,
    "name": checked_name,
    "disabled": checked_switch,
}


def secret(endpoint: Endpoint) -> str:
    return secrets.endpoint_secret(endpoint.id, endpoint.generation)


@transaction.atomic
def rotate(*, endpoint: Endpoint, keep: bool = True) -> str:
    """Turn the secret and give the new one. keep: the one before signs beside it for a day."""
    locked = Endpoint.objects.select_for_update().get(id=endpoint.id)
    locked.generation += 1 if keep else 2  # one that nobody has seen signs for nobody
    locked.rotated_at = timezone.now()
    locked.save(update_fields=["generation", "rotated_at"])
    endpoint.refresh_from_db()
    return secret(locked)


@transaction.atomic
def rotate_team(*, team: Team) -> str:
    """Turn the secret of the webhooks that the team's runs bring along. Gives the new one."""
    TeamSecret.objects.get_or_create(team=team)
    locked = TeamSecret.objects.select_for_update().get(team=team)
    locked.generation += 1
    locked.rotated_at = timezone.now()
    locked.save()
    return secrets.team_secret(team.id, locked.generation)


def team_secret(team_id: UUID) -> str:
    """What signs the webhooks that the team's runs bring along."""
    found = TeamSecret.objects.filter(team_id=team_id).values_list("generation", flat=True).first()
    return secrets.team_secret(team_id, found or 1)


@transaction.atomic
def remove(*, endpoint: Endpoint) -> None:
    """Remove an endpoint. Its log stays; what still waits for it is dead."""
    waiting = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.PENDING)
    waiting.update(state=Delivery.State.DEAD, ended_at=timezone.now())
    endpoint.delete()


def send_test(*, endpoint: Endpoint, word: str = TEST) -> Delivery:
    """Queue an event that says nothing but that it works. word: the type that it has.

    Raises Conflict where the endpoint is disabled.
    """
    if endpoint.disabled_at:
        raise Conflict("This endpoint is disabled. Enable it first.")
    event = Event(ids.public("evt", ids.uuid7()), word, timezone.now())
    item = queue.delivery(
        team_id=str(endpoint.team_id),
        endpoint_id=str(endpoint.id),
        target=f"endpoint:{endpoint.id}",
        url=endpoint.url,
        scheme=schemes.TYPES.get(word, "standard"),
        event=event,
        body=orjson.dumps(sample(endpoint, event)),
    )
    queue.queue([item])
    return Delivery.objects.get(id=item["id"])


def sample(endpoint: Endpoint, event: Event) -> dict[str, Any]:
    """The body of a test, with the fields that receivers of either kind look at."""
    return {
        "id": event.id,
        "object": "event",
        "created_at": int(event.at.timestamp()),
        "type": event.type,
        "timestamp": event.at,
        "data": {"id": "test", "endpoint": endpoint.public_id, "message": "It works."},
    }
