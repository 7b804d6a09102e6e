"""Let another service's model name lead to one of ours, or list and remove such names."""

import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.catalog.models import Alias, Model

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}")


class Command(BaseCommand):
    help = "List aliases; with a name and a model make one; with --remove take one away."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="what callers say, such as gpt-image-1")
        parser.add_argument("model", nargs="?", help="where it leads, such as kinora/glyph")
        parser.add_argument("--remove", action="store_true", help="take the name away")

    def handle(self, *, name: str | None, model: str | None, remove: bool, **_options: Any) -> None:
        if name is None:
            for alias in Alias.objects.select_related("model__lab").order_by("name"):
                self.stdout.write(str(alias))
        elif remove:
            self.remove(name)
        else:
            self.make(name, model or "")

    def remove(self, name: str) -> None:
        if not Alias.objects.filter(name=name).delete()[0]:
            raise CommandError(f"There is no alias {name}.")
        self.stdout.write(f"{name} leads nowhere now")

    def make(self, name: str, model: str) -> None:
        if not NAME.fullmatch(name):
            raise CommandError("name must be 1 to 80 letters, digits or . _ : - without a slash.")
        lab, _, slug = model.partition("/")
        target = Model.objects.filter(lab__slug=lab, slug=slug).first()
        if target is None:
            raise CommandError(f"There is no model {model or '(none given)'}.")
        alias, _ = Alias.objects.update_or_create(name=name, defaults={"model": target})
        self.stdout.write(str(alias))
