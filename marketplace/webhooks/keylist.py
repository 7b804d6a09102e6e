"""The public keys that our Ed25519 signatures are checked with."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from marketplace.webhooks import secrets

CACHE = "public, max-age=3600"


@require_GET
def keylist(_request: HttpRequest) -> JsonResponse:
    return JsonResponse(secrets.jwks(), headers={"Cache-Control": CACHE})
