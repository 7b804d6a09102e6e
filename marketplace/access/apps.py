"""Django's registration of this room."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "marketplace.access"
    label = "access"

    def ready(self) -> None:
        from marketplace.access.check import INVARIANTS
        from marketplace.ledger import check

        check.add(INVARIANTS)
