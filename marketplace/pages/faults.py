"""The pages for what went wrong: 403, 404 and 500, in words."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import get_template


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)


def not_allowed(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", status=403)


def broken(_request: HttpRequest) -> HttpResponse:
    """Without a request's context: what failed may be what the context needs."""
    return HttpResponse(get_template("500.html").render(), status=500)
