"""`manage.py sweep`: put right once what crashes left behind, and say how much that was."""

from typing import Any

from django.core.management.base import BaseCommand

from marketplace.runs.sweep import MONEY, WORK, sweep


class Command(BaseCommand):
    help = "Run every sweep once; each count should read 0 when nothing goes wrong."

    def handle(self, *_: Any, **__: Any) -> None:
        for name, count in sweep(WORK | MONEY).items():
            self.stdout.write(f"{count:>6}  {name}")
