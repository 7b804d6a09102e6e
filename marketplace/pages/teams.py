"""Which of their teams a person acts for: chosen in the bar, kept by the browser and the member."""

from urllib.parse import urlsplit

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from marketplace import ids
from marketplace.accounts.models import Member
from marketplace.pages.context import SECTIONS
from marketplace.pages.team import CHOSEN, memberships, to_the_door

OF_ALL = ("models", "settings", "console")  # what is there for every team stays open


@require_POST
def choose(request: HttpRequest, team_id: str) -> HttpResponse:
    """Act for another team from now on. Raises Http404 alike for others' teams and for none."""
    if not request.user.is_authenticated:
        return to_the_door(request)
    mine = {member.team_id: member for member in memberships(request)}
    if not mine:
        raise PermissionDenied
    found = ids.private("team", team_id)
    chosen = mine.get(found) if found else None
    if chosen is None:
        raise Http404("There is no such team.")
    request.session[CHOSEN] = str(chosen.team_id)
    Member.objects.filter(id=chosen.id).update(chosen_at=timezone.now())
    return redirect(same_page(request.POST.get("at", "")))


def same_page(path: str) -> str:
    """Where one was, or its section where the page was of a thing that the other team has not."""
    parts = urlsplit(path).path.strip("/").split("/")
    if parts[0] in OF_ALL:
        return "/" + "/".join(parts)
    return f"/{parts[0]}" if parts[0] in dict(SECTIONS) else "/runs"
