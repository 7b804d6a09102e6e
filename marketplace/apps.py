"""Django's registration of the whole: it owns the management commands."""

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"
    label = "marketplace"
