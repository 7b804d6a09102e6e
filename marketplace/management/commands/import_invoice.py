"""`manage.py import_invoice`: bring a supplier's invoice in and hold it against our runs."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.catalog.models import Lab
from marketplace.errors import KinoraError
from marketplace.money import Money
from marketplace.payouts.invoice import HEAD, read
from marketplace.runs.invoices import bring


class Command(BaseCommand):
    help = "Bring a JSON or CSV invoice in. The same file again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--lab", required=True, help="the lab's slug")
        parser.add_argument("--reference", help="the invoice's number; of a CSV")
        parser.add_argument("--from", help="its first day; of a CSV")
        parser.add_argument("--to", help="the first day that is left out; of a CSV")
        parser.add_argument("--currency", default="USD")

    def handle(self, *_: Any, **options: Any) -> None:
        lab = Lab.objects.filter(slug=options["lab"]).first()
        if lab is None:
            raise CommandError(f"There is no lab {options['lab']}.")
        try:
            invoice, new = bring(lab=lab, bill=read(self.told(options)))
        except (KinoraError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        found = invoice.differences.all()
        told = "brought in" if new else "known already"
        self.stdout.write(f"{invoice.public_id}  {told}, {len(found)} differences")
        for each in found:
            amounts = f"billed {Money(each.billed)}, owed {Money(each.expected)}"
            self.stdout.write(f"  {each.kind}  {each.place}  {amounts}  {each.state}")

    def told(self, options: Any) -> dict[str, Any]:
        """What the file says, with what a CSV leaves to the command."""
        text = options["file"].read_text(encoding="utf-8")
        named = {name: options[name] for name in HEAD if options[name] is not None}
        if options["file"].suffix == ".csv":
            return named | {"csv": text}
        found = json.loads(text)
        if not isinstance(found, dict):
            raise CommandError("The file must hold an object.")
        return named | found
