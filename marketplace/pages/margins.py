"""The console's margins: what customers paid, what labs have of it, and what is left.

Per release and outcome, or of one run, where it adds up to the nano-unit.
"""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from marketplace import ids
from marketplace.money import Money
from marketplace.pages.staff import staff_page
from marketplace.runs.margin import margin, margins

DAYS = 30
AMOUNTS = ("charged", "refunded", "share", "cost", "margin")


@staff_page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The last thirty days, and one run where it is named."""
    now = timezone.now()
    found = margins(now - timedelta(days=DAYS), now)
    sums = {name: sum(row[name] for row in found) for name in AMOUNTS}
    asked = request.GET.get("run", "").strip()
    context = {"rows": found, "sums": sums, "days": DAYS, "asked": asked} | one(asked)
    return render(request, "console/margins.html", context)


def one(name: str) -> dict[str, Any]:
    """What is left of one run, exactly."""
    run = ids.private("run", name)
    found = margin(run) if run else {}
    return {"run": found and found | {n: Money(found[n]).as_json()["amount"] for n in AMOUNTS}}
