"""Django's registration of this room."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "marketplace.access"
    label = "access"

    def ready(self) -> None:
        from marketplace.access import check  # noqa: F401 - adds this room's invariants
