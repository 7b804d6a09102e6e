"""`manage.py seed`: fill a database with what a first look needs. Repeats safely."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from marketplace.embedded.seed import seed, write_down


class Command(BaseCommand):
    help = "Add labs, releases with prices, a worker and two teams with keys, where missing."

    def handle(self, *args: Any, **options: Any) -> None:
        write_down(*seed())
        self.stdout.write(f"Addresses, keys and log-ins are in {settings.DATA / 'demo.json'}")
