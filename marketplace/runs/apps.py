"""Django's registration of this room; the last with SQL of its own, so it has all installed."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from marketplace import sql


class RunsConfig(AppConfig):
    name = "marketplace.runs"
    label = "runs"

    def ready(self) -> None:
        post_migrate.connect(sql.install, sender=self)
