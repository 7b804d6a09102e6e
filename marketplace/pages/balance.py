"""What a team can spend, and every ledger line that made it so."""

from datetime import date, timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.errors import InvalidInput
from marketplace.ledger.balance import balance
from marketplace.ledger.lines import newest_entries
from marketplace.pages.team import team_page
from marketplace.runs.statement import period, streamed

PAGE = 50
SAID = {
    "grant": "Credit",
    "charge": "Charge",
    "expiry": "Expired",
    "refund": "Refund",
    "void": "Taken back",
}


@team_page
@require_GET
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """Credits in the order they are spent, then fifty lines, newest first."""
    asked = request.GET.get("before", "")
    before = int(asked[:18]) if asked.isdecimal() else None
    page = newest_entries(team.id, before=before, limit=PAGE + 1)
    lines = [
        {
            "entry": entry,
            "said": SAID.get(entry.transfer.kind, entry.transfer.kind),
            "run": ids.public("run", entry.transfer.run_id) if entry.transfer.run_id else "",
        }
        for entry in page[:PAGE]
    ]
    more = str(page[PAGE - 1].id) if len(page) > PAGE else ""
    found = balance(team.id)
    first = next((c.account_id for c in found.credits if c.spendable and c.available > 0), None)
    context = {"balance": found, "first": first, "lines": lines, "more": more}
    return render(request, "balance/index.html", context | {"month": this_month()})


@team_page
@require_GET
def download(request: HttpRequest, team: Team) -> HttpResponseBase:
    """The statement of the days in `from` and `to`, as a file."""
    try:
        start, end = period(request.GET)
    except InvalidInput as error:
        return HttpResponseBadRequest(error.message, content_type="text/plain")
    return streamed(team.id, start, end)


def this_month() -> dict[str, date]:
    """From the first of the month until tomorrow, UTC."""
    today = timezone.now().date()
    return {"start": today.replace(day=1), "end": today + timedelta(days=1)}
