"""Publish a price version of a release from a JSON file of lines; see `docs/prices.md`."""

import json
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.catalog.models import Release
from marketplace.errors import KinoraError
from marketplace.metering.publish import publish


class Command(BaseCommand):
    help = "Publish a price version; it supersedes the present one at an instant."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("release", help="such as kinora/glyph@2026-11-20")
        parser.add_argument("lines", type=Path, help="JSON file with the list of lines")
        parser.add_argument(
            "--from", dest="start", type=datetime.fromisoformat, help="2026-12-24T00:00:00+00:00"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            price = publish(
                release=found(options["release"]),
                lines=json.loads(options["lines"].read_text()),
                effective_from=options["start"],
            )
        except (KinoraError, OSError, ValueError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{price} is the price from {price.effective_from:%Y-%m-%d %H:%M} UTC.")


def found(name: str) -> Release:
    model, _, version = name.partition("@")
    lab, _, slug = model.partition("/")
    releases = Release.objects.filter(model__lab__slug=lab, model__slug=slug, version=version)
    if (release := releases.first()) is None:
        raise CommandError(f"There is no release {name}.")
    return release
