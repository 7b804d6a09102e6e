"""Django's registration of this room; its invariants join the audit's."""

from django.apps import AppConfig

from marketplace.payouts.invariants import INVARIANTS


class PayoutsConfig(AppConfig):
    name = "marketplace.payouts"
    label = "payouts"

    def ready(self) -> None:
        from marketplace.ledger import check  # its models load after the apps

        check.add(INVARIANTS)
