"""Whose pages the console's are: Kinora's admins. For everybody else they are not there."""

from functools import wraps
from typing import ParamSpec

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from marketplace.pages.team import Page, to_the_door

P = ParamSpec("P")


def staff_page(view: Page[P]) -> Page[P]:
    """Ask a visitor to log in; raises Http404 for who is no admin."""

    @wraps(view)
    def for_staff(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return to_the_door(request)
        if not request.user.is_staff:
            raise Http404
        return view(request, *args, **kwargs)

    return for_staff
