"""`manage.py offer flux-1-dev --unit image --price 0.02 --cost 0.001`: sell our own workers' model.

The model is one that `python -m inference adopt` put on a shelf of KINORA_WEIGHTS.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.embedded.seed import Sale, put_on_sale
from marketplace.errors import KinoraError
from marketplace.fleet.models import Worker
from marketplace.metering.units import UNITS
from partners import registry

LAB, ADAPTER = "kinora", "house"


class Command(BaseCommand):
    help = "Put a model of our own workers on sale, in a release that says what it is today."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="its name, as its kinora.json says")
        parser.add_argument("--unit", required=True, choices=sorted(UNITS), help="what is counted")
        parser.add_argument("--price", required=True, help="dollars per unit")
        parser.add_argument("--cost", required=True, help="dollars per second of its pool")
        today = f"{timezone.now():%Y-%m-%d}"
        parser.add_argument("--release", default=today, help="its date; today, if not said")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["model"]
        try:
            queue = registry.describe(ADAPTER, name).queue
        except KeyError:
            held = ", ".join(sorted(one.target for one in registry.ADAPTERS[ADAPTER].describe()))
            raise CommandError(
                f"No shelf of KINORA_WEIGHTS holds {name}. There are: {held}."
            ) from None
        release = self.offered(name, options)
        self.stdout.write(f"{release.full_name} is on sale, for workers of the pool {queue}.")
        if not Worker.objects.filter(pool__slug=queue, revoked_at=None).exists():
            self.stdout.write(f"None serves it yet: manage.py worker NAME --pool {queue}")

    @transaction.atomic
    def offered(self, name: str, options: dict[str, Any]) -> Release:
        """The new release with its price, or nothing at all."""
        version = options["release"]
        if Release.objects.filter(model__lab__slug=LAB, model__slug=name, version=version).exists():
            raise CommandError(
                f"{LAB}/{name}@{version} is there, and a release never changes. "
                "Say another with --release."
            )
        sale = Sale(LAB, name, ADAPTER, name, options["unit"], options["price"],
                    options["cost"])  # fmt: skip
        try:
            return put_on_sale(sale, version)
        except KinoraError as error:
            raise CommandError(str(error)) from None
