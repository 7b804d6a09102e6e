"""The room's chores: forget old deliveries, write to teams whose endpoint we disabled."""

from datetime import timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.webhooks.models import Delivery, Endpoint

KEPT = timedelta(days=30)
AT_ONCE = 1000


def forget_old() -> int:
    """Delete what ended and is a month old, with its attempts; gives how many deliveries."""
    old = Delivery.objects.filter(created_at__lt=timezone.now() - KEPT)
    ids = list(old.exclude(state=Delivery.State.PENDING).values_list("id", flat=True)[:AT_ONCE])
    Delivery.objects.filter(id__in=ids).delete()
    return len(ids)


def tell_of_disabled() -> int:
    """Mail the owners of endpoints that we disabled, once; gives how many endpoints."""
    told = Endpoint.objects.filter(
        disabled_at__isnull=False,
        notified_at=None,
        disabled_reason__in=[Endpoint.Reason.FAILING, Endpoint.Reason.GONE],
    )
    found = list(told.select_related("team"))
    for endpoint in found:
        owners = User.objects.filter(member__team=endpoint.team, member__role="owner")
        send_mail(
            "A webhook endpoint was disabled",
            render_to_string(
                "webhooks/disabled.txt", {"endpoint": endpoint, "site_url": settings.SITE_URL}
            ),
            None,
            [user.email for user in owners],
        )
        Endpoint.objects.filter(id=endpoint.id).update(notified_at=timezone.now())
    return len(found)
