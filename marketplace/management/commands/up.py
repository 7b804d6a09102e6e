"""`manage.py up`: the whole stack on this machine, supervised. See `marketplace/embedded/up.py`."""

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.embedded.supervisor import NotReady
from marketplace.embedded.up import CannotStart, up


class Command(BaseCommand):
    help = "Start the whole stack here, do the main job once, and serve until Ctrl-C."
    requires_system_checks: tuple[str, ...] = ()  # the database comes up first

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="end after the main job")
        parser.add_argument("--no-demo", action="store_true", help="serve without the main job")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            status = up(say=self.say, demo=not options["no_demo"], once=options["once"])
        except (CannotStart, NotReady) as error:
            raise CommandError(str(error)) from None
        sys.exit(status)

    def say(self, text: str) -> None:
        """A line gets the time; a block that stands apart does not."""
        stamp = "" if text.startswith("\n") else f"{time.strftime('%H:%M:%S')}  "
        self.stdout.write(stamp + text)
        self.stdout.flush()
