"""Django's registration of this room."""

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "marketplace.metering"
    label = "metering"
