"""`manage.py sweep`: put right once what crashes left behind, and say how much that was."""

from typing import Any

from django.core.management.base import BaseCommand

from marketplace.runs.sweep import OFTEN, SELDOM, sweep


class Command(BaseCommand):
    help = "Run every sweep once and print its count."

    def handle(self, *_: Any, **__: Any) -> None:
        for name, count in sweep(OFTEN | SELDOM).items():
            self.stdout.write(f"{count:>6}  {name}")
