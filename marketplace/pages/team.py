"""Whose pages these are: the team of the session. Every query of a page starts from it."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from marketplace.accounts.models import Team

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
TeamPage = Callable[Concatenate[HttpRequest, Team, P], HttpResponseBase]


def session_team(request: HttpRequest) -> Team | None:
    """The team that the logged-in person acts for; None for a visitor. One query per request."""
    if not request.user.is_authenticated:
        return None
    if not hasattr(request, "team"):
        team = Team.objects.filter(member__user=request.user).order_by("id").first()
        request.team = team  # type: ignore[attr-defined]
    found: Team | None = request.team  # type: ignore[attr-defined]
    return found


def team_page(view: TeamPage[P]) -> Page[P]:
    """Ask a visitor to log in; hand the view its team."""

    @wraps(view)
    def with_team(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return to_the_door(request)
        team = session_team(request)
        if team is None:
            raise PermissionDenied
        return view(request, team, *args, **kwargs)

    return with_team


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
