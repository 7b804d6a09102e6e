"""Endpoints, their deliveries, and replays over the API. Changing them needs the scope `run`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import errors, ids
from marketplace.accounts.api import KeyView, body_of, presented_key, team_of
from marketplace.accounts.models import Team
from marketplace.webhooks import endpoints, openapi
from marketplace.webhooks.models import Delivery
from marketplace.webhooks.replay import STATES, replay, replay_range
from marketplace.webhooks.view import (
    deliveries,
    delivery_json,
    endpoint_json,
    owned_delivery,
    owned_endpoint,
    page,
)

LARGEST_PAGE = 100
FIELDS = ("url", "event_types", "name")
REPLAY_FIELDS = ("from", "to", "endpoint", "states")


def changing(request: Request) -> Team:
    """The team of a key that may change things. Raises NotAllowed."""
    if "run" not in presented_key(request).scopes:
        raise errors.NotAllowed("This key lacks the scope `run`.", scope="run")
    return team_of(request)


def known(request: Request, fields: tuple[str, ...], *, needs: tuple[str, ...] = ()) -> Any:
    """The body, which has these fields and no other. Raises InvalidInput."""
    data = body_of(request)
    for name in data:
        if name not in fields:
            raise errors.InvalidInput(
                f"{name[:80]} is not a field here. Known fields: {', '.join(fields)}.",
                param=name[:80],
            )
    for name in needs:
        if name not in data:
            raise errors.InvalidInput(f"{name} is missing.", param=name)
    return data


class Endpoints(KeyView):
    """The team's endpoints."""

    @extend_schema(operation_id="listWebhooks", responses={200: openapi.ENDPOINTS})
    def get(self, request: Request) -> Response:
        """The team's endpoints, oldest first."""
        return Response({"data": [endpoint_json(e) for e in team_of(request).endpoints.all()]})

    @extend_schema(
        operation_id="createWebhook",
        request=openapi.ENDPOINT_WISH,
        responses={201: openapi.NEW_ENDPOINT},
    )
    def post(self, request: Request) -> Response:
        """Make an endpoint. Its secret is in this answer and nowhere else."""
        team = changing(request)
        data = known(request, FIELDS, needs=("url", "event_types"))
        made, secret = endpoints.create(team=team, **data)
        return Response({**endpoint_json(made), "secret": secret}, status=201)


class OneEndpoint(KeyView):
    """One endpoint of the team."""

    @extend_schema(operation_id="getWebhook", responses={200: openapi.ENDPOINT})
    def get(self, request: Request, endpoint: str) -> Response:
        """One endpoint, without its secret."""
        return Response(endpoint_json(owned_endpoint(team_of(request), endpoint)))

    @extend_schema(
        operation_id="changeWebhook",
        request=openapi.ENDPOINT_CHANGE,
        responses={200: openapi.ENDPOINT},
    )
    def patch(self, request: Request, endpoint: str) -> Response:
        """Change an endpoint, or turn it off and on. What waits goes to the new address."""
        found = owned_endpoint(changing(request), endpoint)
        changes = known(request, (*FIELDS, "disabled"))
        return Response(endpoint_json(endpoints.change(endpoint=found, **changes)))

    @extend_schema(operation_id="removeWebhook", request=None, responses={204: None})
    def delete(self, request: Request, endpoint: str) -> Response:
        """Remove an endpoint. What still waits for it is dead; the log stays."""
        endpoints.remove(endpoint=owned_endpoint(changing(request), endpoint))
        return Response(status=204)


class Rotation(KeyView):
    """The turning of an endpoint's secret."""

    @extend_schema(
        operation_id="rotateWebhookSecret", request=None, responses={200: openapi.NEW_ENDPOINT}
    )
    def post(self, request: Request, endpoint: str) -> Response:
        """Turn the secret. For a day the one before signs beside the new one."""
        found = owned_endpoint(changing(request), endpoint)
        secret = endpoints.rotate(endpoint=found)
        return Response({**endpoint_json(found), "secret": secret})


class Test(KeyView):
    """A test event for an endpoint."""

    @extend_schema(operation_id="testWebhook", request=None, responses=openapi.SENT)
    def post(self, request: Request, endpoint: str) -> Response:
        """Send the event `webhook.test`."""
        found = owned_endpoint(changing(request), endpoint)
        return Response(delivery_json(endpoints.send_test(endpoint=found)), status=202)


class Deliveries(KeyView):
    """What was sent, and what is to be."""

    @extend_schema(
        operation_id="listWebhookDeliveries",
        parameters=[
            OpenApiParameter("endpoint", str),
            OpenApiParameter("run", str),
            OpenApiParameter("state", str, enum=Delivery.State.values),
            OpenApiParameter("cursor", str),
            OpenApiParameter("limit", int),
        ],
        responses={200: openapi.DELIVERIES},
    )
    def get(self, request: Request) -> Response:
        """Deliveries with every attempt, newest first, kept for 30 days."""
        query = request.query_params
        found = deliveries(team_of(request)).filter(**chosen(team_of(request), query))
        limit = page_size(query.get("limit", "20"))
        rows = page(found, before=identified(query, "cursor", "whd"), limit=limit)
        shown = [delivery_json(row) for row in rows[:limit]]
        return Response(
            {"data": shown, "next_cursor": shown[-1]["id"] if len(rows) > limit else None}
        )


def chosen(team: Team, query: Mapping[str, str]) -> dict[str, Any]:
    """The filters of a query. Raises InvalidInput, NotFound."""
    found: dict[str, Any] = {}
    if name := query.get("endpoint"):
        found["endpoint"] = owned_endpoint(team, name)
    if run_id := identified(query, "run", "run"):
        found["run_id"] = run_id
    if (state := query.get("state")) is not None:
        if state not in Delivery.State.values:
            raise errors.InvalidInput(
                f"state must be one of {', '.join(Delivery.State.values)}.", param="state"
            )
        found["state"] = state
    return found


def identified(query: Mapping[str, str], name: str, prefix: str) -> Any:
    """The id that a query gives, if it does. Raises InvalidInput."""
    if (text := query.get(name)) is None:
        return None
    if (found := ids.private(prefix, text)) is None:
        raise errors.InvalidInput(f"{name} must be an id such as {prefix}_01jd….", param=name)
    return found


def page_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise errors.InvalidInput(f"limit must be from 1 to {LARGEST_PAGE}.", param="limit")
    return int(text)


class OneDelivery(KeyView):
    """One delivery."""

    @extend_schema(operation_id="getWebhookDelivery", responses={200: openapi.DELIVERY})
    def get(self, request: Request, delivery: str) -> Response:
        """One delivery with every attempt."""
        return Response(delivery_json(owned_delivery(team_of(request), delivery)))


class Replay(KeyView):
    """The replay of one delivery."""

    @extend_schema(operation_id="replayWebhookDelivery", request=None, responses=openapi.SENT)
    def post(self, request: Request, delivery: str) -> Response:
        """Send a delivery again, with the same id and body."""
        found = owned_delivery(changing(request), delivery)
        return Response(delivery_json(replay(delivery=found)), status=202)


class ReplayRange(KeyView):
    """The replay of a stretch of time."""

    @extend_schema(
        operation_id="replayWebhookDeliveries",
        request=openapi.REPLAY_WISH,
        responses={202: openapi.REPLAYED},
    )
    def post(self, request: Request) -> Response:
        """Send again what was made in a stretch of time; only dead deliveries unless asked."""
        team = changing(request)
        data = known(request, REPLAY_FIELDS, needs=("from", "to"))
        endpoint = data.get("endpoint")
        count = replay_range(
            team_id=team.id,
            start=instant(data, "from"),
            end=instant(data, "to"),
            endpoint_id=owned_endpoint(team, str(endpoint)).id if endpoint is not None else None,
            states=states(data.get("states", ["dead"])),
        )
        return Response({"replayed": count}, status=202)


def instant(data: Mapping[str, Any], name: str) -> datetime:
    """Raises InvalidInput where there is no time with its offset."""
    value = data[name]
    try:
        found = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise errors.InvalidInput(
            f"{name} must be a time such as 2026-11-20T08:00:00Z.", param=name
        )
    return found


def states(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or any(each not in STATES for each in value):
        raise errors.InvalidInput(f"states must be some of {', '.join(STATES)}.", param="states")
    return value


class Secret(KeyView):
    """The secret of the webhooks that runs bring along."""

    @extend_schema(operation_id="getWebhookSecret", responses={200: openapi.ONE_SECRET})
    def get(self, request: Request) -> Response:
        """What signs the webhooks that runs bring along, for all of the team."""
        return Response({"secret": endpoints.team_secret(changing(request).id)})

    @extend_schema(
        operation_id="rotateTeamWebhookSecret", request=None, responses={200: openapi.ONE_SECRET}
    )
    def post(self, request: Request) -> Response:
        """Turn it. For a day the one before signs beside the new one."""
        return Response({"secret": endpoints.rotate_team(team=changing(request))})
