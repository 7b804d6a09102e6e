"""`manage.py lab_key`: make a lab's first key, with which it makes the others itself."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.catalog import lab_keys
from marketplace.catalog.models import Lab
from marketplace.errors import KinoraError


class Command(BaseCommand):
    help = "Make a key for a lab's management API. It is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("lab", help="the lab's slug")
        parser.add_argument("--name", default="first key")
        parser.add_argument("--role", default="owner", help=", ".join(lab_keys.ROLES))

    def handle(self, *_: Any, **options: Any) -> None:
        lab = Lab.objects.filter(slug=options["lab"]).first()
        if lab is None:
            raise CommandError(f"There is no lab {options['lab']}.")
        try:
            _key, text = lab_keys.create(lab=lab, name=options["name"], role=options["role"])
        except KinoraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(text)
