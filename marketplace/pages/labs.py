"""The console's labs: how each does, as the suppliers saw it a moment ago."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from marketplace.pages.staff import staff_page
from marketplace.runs import fate, health


@staff_page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Trouble first."""
    found = health.seen()
    context = {"labs": found, "troubled": sum(row["state"] != "open" for row in found)}
    return render(request, "console/labs.html", context | {"doubts": fate.unresolved()})
