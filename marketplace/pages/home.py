"""The front page and the person's settings."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from marketplace.accounts.models import Member, Team
from marketplace.pages import explore
from marketplace.pages.team import team_page

HOUSE = "kinora/glyph"
FILMS = 5


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Real outputs only: the films and the wall are the catalog's examples."""
    shown = explore.examples_of(explore.newest_offers(request))
    house = [example for example in shown if example.offer.model == HOUSE]
    context = {
        "films": house[:FILMS],
        "wall": shown[: explore.WALL],
    }
    return render(request, "home.html", context)


@team_page
@require_GET
def preferences(request: HttpRequest, team: Team) -> HttpResponse:
    members = Member.objects.filter(team=team).select_related("user").order_by("id")
    return render(request, "settings.html", {"members": members})
