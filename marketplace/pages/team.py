"""Whose pages these are: the team of the session. Every query of a page starts from it."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from marketplace.accounts.models import Team

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponse]
TeamPage = Callable[Concatenate[HttpRequest, Team, P], HttpResponse]


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
    def with_team(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        team = session_team(request)
        if team is None:
            raise PermissionDenied
        return view(request, team, *args, **kwargs)

    return login_required(with_team)
