"""Every address that Django serves; what makes and reads runs is in `hot/app.py`."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/", include("marketplace.api_urls")),
    path("fleet/v1/", include("marketplace.runs.urls")),
    path(".well-known/", include("marketplace.webhooks.urls")),
    path("media/", include("marketplace.media.urls")),
    path("", include("marketplace.pages.urls")),
]

handler403 = "marketplace.pages.faults.not_allowed"
handler404 = "marketplace.pages.faults.not_found"
handler500 = "marketplace.pages.faults.broken"
