"""Django's registration of this room; the last with SQL of its own, so it has all installed."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from marketplace import sql
from marketplace.runs.invariants import INVARIANTS


class RunsConfig(AppConfig):
    name = "marketplace.runs"
    label = "runs"

    def ready(self) -> None:
        from marketplace.ledger import check  # its models load after the apps

        post_migrate.connect(sql.install, sender=self)
        check.add(INVARIANTS)
