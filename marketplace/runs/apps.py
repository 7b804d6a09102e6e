"""Django's registration of this room."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "marketplace.runs"
    label = "runs"
