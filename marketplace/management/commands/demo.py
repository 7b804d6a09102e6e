"""`manage.py demo`: the main job against a serving stack. See `marketplace/embedded/demo.py`."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketplace.embedded.demo import Api, JobFailed, main_job

CLEAR = "\r\x1b[K"


class Command(BaseCommand):
    help = "Make a picture and a clip through the public API, and print their receipts."
    requires_system_checks: tuple[str, ...] = ()  # it talks HTTP only

    def add_arguments(self, parser: ArgumentParser) -> None:
        default = settings.DATA / "demo.json"
        parser.add_argument("--demo", type=Path, default=default, help="file with url and key")

    def handle(self, *args: Any, **options: Any) -> None:
        found = json.loads(options["demo"].read_text())
        self.shown = ""
        try:
            api = Api(found["url"], found["key"])
            main_job(api, settings.DATA / "demo", draw=self.draw, say=self.say)
        except (JobFailed, OSError) as error:
            self.end_line()
            raise CommandError(str(error)) from None

    def draw(self, line: str) -> None:
        """Redraw the line of progress in place; elsewhere than in a terminal, say it once."""
        if line == self.shown:
            return
        if self.stdout.isatty():
            self.stdout.write(CLEAR + line, ending="")
        elif line.partition("█")[0] != self.shown.partition("█")[0]:
            self.stdout.write(line)
        self.stdout.flush()
        self.shown = line

    def say(self, text: str) -> None:
        self.end_line()
        self.stdout.write(text)
        self.stdout.flush()

    def end_line(self) -> None:
        if self.stdout.isatty() and self.shown:
            self.stdout.write(CLEAR, ending="")
        self.shown = ""
