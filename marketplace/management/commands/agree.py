"""`manage.py agree`: the terms with a lab from an instant on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from marketplace.catalog.models import Lab
from marketplace.errors import KinoraError
from marketplace.management.commands.refund import nano
from marketplace.payouts.agree import agree
from marketplace.payouts.models import Agreement


class Command(BaseCommand):
    help = "Agree with a lab on what it gets of each run. The version before ends there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("lab", help="the lab's slug")
        parser.add_argument("--basis", required=True, choices=Agreement.Basis.values)
        parser.add_argument("--percent", help="the lab's part, as 70 or 12.5")
        parser.add_argument("--promotions", default="giver", choices=Agreement.Promotions.values)
        parser.add_argument("--guarantee", type=nano, default=0, help="such as 10000")
        parser.add_argument("--from", dest="start", help="2026-12-24T00:00Z; without it, now")
        parser.add_argument("--note", default="")

    def handle(self, *_: Any, **options: Any) -> None:
        lab = Lab.objects.filter(slug=options["lab"]).first()
        if lab is None:
            raise CommandError(f"There is no lab {options['lab']}.")
        start = parse_datetime(options["start"]) if options["start"] else None
        if options["start"] and start is None:
            raise CommandError("--from must be a time such as 2026-12-24T00:00Z.")
        terms = {n: options[n] for n in ("basis", "percent", "promotions", "guarantee", "note")}
        try:
            made = agree(lab=lab, effective_from=start, **terms)
        except KinoraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{made}, from {made.effective_from:%Y-%m-%d %H:%M} UTC")
