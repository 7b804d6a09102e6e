"""`manage.py worker gpu-1 --pool gpu.std`: let a GPU worker in; its token is shown this once."""

import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from marketplace.fleet import token
from marketplace.fleet.models import Worker


class Command(BaseCommand):
    help = "Let a worker in and show its token; the same name again gives it another one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="such as gpu-1")
        parser.add_argument("--pool", default="gpu.std", help="the queue that it serves")
        parser.add_argument("--revoke", action="store_true", help="let it in no more")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if options["revoke"]:
            left = Worker.objects.filter(name=name, revoked_at=None)
            if not left.update(revoked_at=timezone.now()):
                raise CommandError(f"No worker is called {name}.")
            self.stdout.write(f"{name} is let in no more.")
            return
        made = f"kwt_{secrets.token_urlsafe(32)}"
        token.register(name=name, pool=options["pool"], token=made)
        self.stdout.write(made)
