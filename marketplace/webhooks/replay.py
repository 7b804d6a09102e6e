"""Send again what has ended: one delivery, or all of a stretch of time. Same id, same body."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from marketplace.errors import Conflict, InvalidInput
from marketplace.webhooks import queue
from marketplace.webhooks.models import Delivery

LONGEST = timedelta(days=31)
STATES = (Delivery.State.DEAD.value, Delivery.State.DELIVERED.value)


def replay(*, delivery: Delivery) -> Delivery:
    """Try a delivery again from the start. Raises Conflict where it waits or cannot be sent."""
    if delivery.state == Delivery.State.PENDING:
        raise Conflict("This delivery still waits for its next try.")
    if delivery.endpoint is None and not delivery.target.startswith("run:"):
        raise Conflict("The endpoint of this delivery has been removed.")
    if delivery.endpoint and delivery.endpoint.disabled_at:
        raise Conflict("The endpoint of this delivery is disabled. Enable it first.")
    again(Delivery.objects.filter(id=delivery.id))
    delivery.refresh_from_db()
    return delivery


def replay_range(
    *, team_id: UUID, start: datetime, end: datetime, endpoint_id: UUID | None, states: list[str]
) -> int:
    """Replay what was made from `start` to before `end`; gives how many deliveries that were.

    What waits, or whose endpoint is disabled or removed, is left. Raises InvalidInput.
    """
    if not start < end <= start + LONGEST:
        raise InvalidInput(f"to must be after from, by {LONGEST.days} days at most.", param="to")
    found = Delivery.objects.filter(
        team_id=team_id, created_at__gte=start, created_at__lt=end, state__in=states
    )
    if endpoint_id:
        found = found.filter(endpoint_id=endpoint_id)
    return again(found)


def again(found: QuerySet[Delivery]) -> int:
    """Make deliveries due as if they were new, at their endpoint's present address."""
    sendable = Q(endpoint__disabled_at=None, endpoint__isnull=False)
    own = Q(endpoint=None, target__startswith="run:")
    chosen = found.filter(sendable | own).exclude(state=Delivery.State.PENDING)
    moved = chosen.exclude(endpoint=None).exclude(url=F("endpoint__url")).select_related("endpoint")
    for delivery in moved:
        if delivery.endpoint:
            url = delivery.endpoint.url
            Delivery.objects.filter(id=delivery.id).update(url=url, host=queue.host(url))
    ids = list(chosen.values_list("id", flat=True))
    return (
        Delivery.objects.filter(id__in=ids)
        .exclude(state=Delivery.State.PENDING)
        .update(
            state=Delivery.State.PENDING, pardoned=F("tries"), next_at=timezone.now(), ended_at=None
        )
    )
