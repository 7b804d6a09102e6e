"""Endpoints, deliveries and their attempts as the API shows them, and the team's own of them."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.errors import NotFound
from marketplace.webhooks.models import Delivery, DeliveryAttempt, Endpoint


def owned_endpoint(team: Team, public_id: str) -> Endpoint:
    """The team's endpoint; another team's is NotFound like one that never was."""
    endpoint_id = ids.private("whe", public_id)
    found = team.endpoints.filter(id=endpoint_id).first() if endpoint_id else None
    if found is None:
        raise NotFound("There is no such endpoint.", param="endpoint")
    return found


def owned_delivery(team: Team, public_id: str) -> Delivery:
    """The team's delivery; another team's is NotFound like one that never was."""
    delivery_id = ids.private("whd", public_id)
    found = deliveries(team).filter(id=delivery_id).first() if delivery_id else None
    if found is None:
        raise NotFound("There is no such delivery.", param="delivery")
    return found


def deliveries(team: Team) -> QuerySet[Delivery]:
    """The team's deliveries with their attempts, newest first."""
    mine = Delivery.objects.filter(team=team).order_by("-id")
    return mine.select_related("endpoint").prefetch_related("attempts")


def page(found: QuerySet[Delivery], *, before: UUID | None, limit: int) -> list[Delivery]:
    """One more than `limit` where there are more."""
    return list((found.filter(id__lt=before) if before else found)[: limit + 1])


def endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.public_id,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "created_at": endpoint.created_at,
        "rotated_at": endpoint.rotated_at,
        "failing_since": endpoint.failing_since,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason or None,
    }


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    pending = delivery.state == Delivery.State.PENDING
    return {
        "id": delivery.public_id,
        "event": delivery.event_id,
        "event_type": delivery.event_type,
        "scheme": delivery.scheme,
        "endpoint": delivery.endpoint.public_id if delivery.endpoint else None,
        "url": delivery.url,
        "run": ids.public("run", delivery.run_id) if delivery.run_id else None,
        "state": delivery.state,
        "created_at": delivery.created_at,
        "ended_at": delivery.ended_at,
        "next_at": delivery.next_at if pending else None,
        "attempts": [attempt_json(attempt) for attempt in delivery.attempts.all()],
    }


def attempt_json(attempt: DeliveryAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": attempt.at,
        "ended_at": attempt.ended_at,
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "error": attempt.error or None,
        "answer": attempt.answer,
    }
