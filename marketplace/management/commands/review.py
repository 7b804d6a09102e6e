"""`manage.py review`: list the runs whose witnesses disagreed, or decide what one is charged."""

from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace import ids
from marketplace.errors import KinoraError
from marketplace.money import Money
from marketplace.runs.review import decide, waiting


class Command(BaseCommand):
    help = "Without a run: list what waits. With one: --charge video_second=5, or --void."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", nargs="?", help="run_…")
        parser.add_argument("--charge", action="append", default=[], metavar="UNIT=QUANTITY")
        parser.add_argument("--void", action="store_true", help="charge nothing")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["run"] is None:
            self.show()
            return
        if bool(options["charge"]) == options["void"]:
            raise CommandError("Say either --charge UNIT=QUANTITY or --void.")
        run = ids.private("run", options["run"])
        if run is None:
            raise CommandError(f"{options['run']} is not the id of a run.")
        try:
            captured = decide(run=run, charged=dict(map(quantity, options["charge"])))
        except KinoraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{options['run']}  {captured} captured")

    def show(self) -> None:
        for row in waiting():
            said = " / ".join(str(row[name]) for name in ("requested", "reported", "measured"))
            held = Money(row["held"], row["currency"])
            run = ids.public("run", row["run_id"])
            self.stdout.write(f"{run}  {row['model']}  {row['unit']} {said}  held {held}")


def quantity(text: str) -> tuple[str, Decimal]:
    """`video_second=5` → its unit and quantity. Raises CommandError."""
    unit, _, number = text.partition("=")
    try:
        return unit, Decimal(number)
    except InvalidOperation:
        raise CommandError(f"{text} is not UNIT=QUANTITY.") from None
