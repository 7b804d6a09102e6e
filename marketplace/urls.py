"""Every address that Django serves; runs and the workers' door are in `hot/app.py`."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
