"""`manage.py refund`: give back what a run was charged, in whole or in part."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace import ids, money
from marketplace.errors import KinoraError
from marketplace.ledger.refund import refund


class Command(BaseCommand):
    help = "Refund a run. The same amount again is the same refund, unless --reference differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", help="run_…")
        parser.add_argument(
            "--amount", type=nano, help="such as 0.02; without it, all that is left"
        )
        parser.add_argument("--note", required=True, help="why; the team reads it")
        parser.add_argument("--reference", help="what makes this refund happen once")

    def handle(self, *_: Any, **options: Any) -> None:
        run, amount = ids.private("run", options["run"]), options["amount"]
        if run is None:
            raise CommandError(f"{options['run']} is not the id of a run.")
        size = "rest" if amount is None else amount
        reference = options["reference"] or f"refund:{run}:{size}"
        try:
            done = refund(run=run, amount=amount, reference=reference, note=options["note"])
        except KinoraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{options['run']}  {done.amount} refunded, {done.remaining} left")


def nano(text: str) -> int:
    """`0.02` → its nano-units. Raises ArgumentTypeError."""
    try:
        return money.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
