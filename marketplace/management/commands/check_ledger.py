"""Ask the database for every invariant of the ledger."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.ledger.check import INVARIANTS, check


class Command(BaseCommand):
    help = "Check the ledger's invariants; ends with status 1 where one is broken."

    def handle(self, *args: Any, **options: Any) -> None:
        violations = check()
        if violations:
            raise CommandError("\n".join(violations))
        self.stdout.write(f"{len(INVARIANTS)} invariants hold.")
