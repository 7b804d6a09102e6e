"""Publish what a lab charges us for a release, from JSON files; see `docs/concepts.md`."""

import json
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.errors import KinoraError
from marketplace.management.commands.publish_price import found
from marketplace.metering.tariff import publish_tariff


class Command(BaseCommand):
    help = "Publish a tariff version; it supersedes the present one at an instant."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("release", help="such as rehearsal/clip@2026-11-20")
        parser.add_argument("lines", type=Path, help="JSON file with the list of lines")
        parser.add_argument("--policy", type=Path, help="JSON file: outcome → rule")
        parser.add_argument("--from", dest="start", type=datetime.fromisoformat)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tariff = publish_tariff(
                release=found(options["release"]),
                lines=json.loads(options["lines"].read_text()),
                policy=json.loads(options["policy"].read_text()) if options["policy"] else None,
                effective_from=options["start"],
            )
        except (KinoraError, OSError, ValueError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{tariff} holds from {tariff.effective_from:%Y-%m-%d %H:%M} UTC.")
