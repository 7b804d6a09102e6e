"""Signed addresses of media."""

from django.urls import path

from marketplace.media.serve import media

urlpatterns = [path("<path:path>", media, name="media")]
