"""The console's margins: charge, refunds, cost and what is left, per release and outcome."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from marketplace.pages.staff import staff_page
from marketplace.runs.margin import margins

DAYS = 30
AMOUNTS = ("charged", "refunded", "share", "cost", "margin")


@staff_page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The last thirty days."""
    now = timezone.now()
    found = margins(now - timedelta(days=DAYS), now)
    sums = {name: sum(row[name] for row in found) for name in AMOUNTS}
    return render(request, "console/margins.html", {"rows": found, "sums": sums, "days": DAYS})
