"""`manage.py fold`: bring the system accounts' balances up to date now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from marketplace.ledger.fold import fold, fold_restored, lag


class Command(BaseCommand):
    help = "Fold new entries into the system accounts; the beat does so every 10 s."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--restored",
            action="store_true",
            help="begin anew after a dump was restored; stop everything that writes before",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        folded = fold_restored() if options["restored"] else fold()
        left = lag()
        self.stdout.write(f"{folded} entries folded, {left.waiting} wait ({left.seconds:.1f} s)")
