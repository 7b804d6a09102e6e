"""`manage.py proposals`: what labs propose as prices, and an admin's answer."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from marketplace import ids
from marketplace.errors import KinoraError
from marketplace.payouts.models import PriceProposal
from marketplace.payouts.propose import accept, refuse


class Command(BaseCommand):
    help = "List open price proposals, or accept or refuse one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("proposal", nargs="?", help="prop_…; without it, those that are open")
        parser.add_argument("--accept", action="store_true")
        parser.add_argument("--refuse", action="store_true")
        parser.add_argument("--answer", default="", help="the lab reads it")
        parser.add_argument("--from", dest="start", help="a later instant than was proposed")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["proposal"] is None:
            for each in PriceProposal.objects.filter(state="proposed").order_by("proposed_at"):
                begins = f"from {each.effective_from:%Y-%m-%d %H:%M} UTC"
                self.stdout.write(f"{each.public_id}  {each}, {begins}: {each.lines}")
            return
        try:
            done = self.decided(options)
        except KinoraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{done.public_id}  {done.state}")

    def decided(self, options: Any) -> PriceProposal:
        value = ids.private("prop", options["proposal"])
        found = PriceProposal.objects.filter(id=value).first() if value else None
        if found is None or options["accept"] == options["refuse"]:
            raise CommandError("Name a proposal, and either --accept or --refuse.")
        if options["refuse"]:
            return refuse(proposal=found, admin=None, answer=options["answer"])
        start = parse_datetime(options["start"]) if options["start"] else None
        return accept(proposal=found, admin=None, answer=options["answer"], effective_from=start)
