"""The Content-Security-Policy of every page: our own files only, nothing inline, no eval.

It knows the media store's origin, for pictures and film that are not served from here.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], HttpResponse]


def media_origin() -> str:
    """Where signed URLs point when the media store is S3; empty when it is this site."""
    if not settings.S3_BUCKET:
        return ""
    endpoint = settings.STORAGES["default"]["OPTIONS"]["endpoint_url"]
    if not endpoint:
        return f"https://{settings.S3_BUCKET}.s3.amazonaws.com"
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def policy() -> str:
    media = f"'self' {media_origin()}".strip()
    rules = {
        "default-src": "'self'",
        "img-src": f"{media} data:",  # data: is a preview of a picture in the making
        "media-src": media,
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class ContentSecurityPolicy:
    """Adds the policy to every answer of Django."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.policy = policy()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.policy)
        return response
