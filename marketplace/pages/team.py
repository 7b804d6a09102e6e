"""Whose pages these are: the team of the session. Every query of a page starts from it.

A page reads for every member; what it changes needs the scope `run`, as over the API.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from marketplace.accounts.models import Member, Team

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
TeamPage = Callable[Concatenate[HttpRequest, Team, P], HttpResponseBase]
READING = ("GET", "HEAD", "OPTIONS")
CHOSEN = "team"  # of the session
SHOWN = "_team"  # of a form: the team of the page that it stands on


def memberships(request: HttpRequest) -> list[Member]:
    """The logged-in person in each of their teams, the one acted for first. One query a request.

    A browser keeps its choice; a new one begins with the team that was chosen last in any.
    """
    if not hasattr(request, "memberships"):
        found = Member.objects.filter(user=request.user.pk).select_related("team")
        lately = found.order_by(F("chosen_at").desc(nulls_last=True), "team_id")
        chosen = request.session.get(CHOSEN)
        several = sorted(lately, key=lambda member: str(member.team_id) != chosen)
        request.memberships = several  # type: ignore[attr-defined]
    kept: list[Member] = request.memberships  # type: ignore[attr-defined]
    return kept


def session_member(request: HttpRequest) -> Member | None:
    """The logged-in person in the team they act for; None for a visitor."""
    if not request.user.is_authenticated:
        return None
    return next(iter(memberships(request)), None)


def session_team(request: HttpRequest) -> Team | None:
    """The team that the logged-in person acts for; None for a visitor."""
    member = session_member(request)
    return member.team if member else None


def scopes(request: HttpRequest) -> tuple[str, ...]:
    """What the logged-in person may do in that team; nothing for a visitor."""
    member = session_member(request)
    return member.scopes if member else ()


def team_page(view: TeamPage[P]) -> Page[P]:
    """Ask a visitor to log in; hand the view its team.

    Raises PermissionDenied for who is in no team, and for who only reads where something is sent.
    What is sent from a page of another team, left open in a tab, is answered 409 and does nothing.
    """

    @wraps(view)
    def with_team(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return to_the_door(request)
        team = session_team(request)
        if team is None:
            raise PermissionDenied
        if request.method not in READING:
            needs(request, "run")
            if request.POST.get(SHOWN, team.public_id) != team.public_id:
                return render(request, "409.html", status=409)
        return view(request, team, *args, **kwargs)

    return with_team


def needs(request: HttpRequest, scope: str) -> None:
    """Raises PermissionDenied where the person's role does not hold the scope."""
    if scope not in scopes(request):
        raise PermissionDenied


def to_the_door(request: HttpRequest) -> HttpResponse:
    """Send a visitor to log in and back. htmx is told to leave the page, not to swap a part of it;
    a form that was posted leads back to the page that held it."""
    if request.headers.get("HX-Request"):
        back = urlsplit(request.headers.get("HX-Current-URL", "/"))
        answer = HttpResponse()
        answer["HX-Redirect"] = redirect_to_login(
            urlunsplit(back._replace(scheme="", netloc=""))
        ).url
        return answer
    posted = request.method == "POST"
    return redirect_to_login(request.path.rpartition("/")[0] if posted else request.get_full_path())
