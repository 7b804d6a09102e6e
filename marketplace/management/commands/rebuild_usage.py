"""`manage.py rebuild_usage`: make the days of usage anew from what they were folded from."""

from typing import Any

from django.core.management.base import BaseCommand

from marketplace.runs.usage import rebuild


class Command(BaseCommand):
    help = "Forget the days of usage and fold every closed hold, event and refund again."

    def handle(self, *_: Any, **__: Any) -> None:
        self.stdout.write(f"Rows of usage: {rebuild():,}.")
