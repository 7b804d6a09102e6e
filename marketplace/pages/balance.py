"""What a team can spend, and every ledger line that made it so."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Entry
from marketplace.pages.team import team_page

PAGE = 50
SAID = {"grant": "Credit", "charge": "Charge", "expiry": "Expired"}


@team_page
@require_GET
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """Credits in the order they are spent, then fifty lines, newest first."""
    entries = Entry.objects.filter(account__team=team).select_related("transfer", "account")
    before = request.GET.get("before", "")
    if before.isdecimal():
        entries = entries.filter(id__lt=int(before[:18]))
    page = list(entries.order_by("-id")[: PAGE + 1])
    lines = [
        {
            "entry": entry,
            "said": SAID.get(entry.transfer.kind, entry.transfer.kind),
            "run": ids.public("run", entry.transfer.run_id) if entry.transfer.run_id else "",
        }
        for entry in page[:PAGE]
    ]
    more = str(page[PAGE - 1].id) if len(page) > PAGE else ""
    context = {"balance": balance(team.id), "lines": lines, "more": more}
    return render(request, "balance/index.html", context)
