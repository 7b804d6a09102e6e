"""`manage.py lab_secret`: lock a lab's secret, list which there are, turn the master key.

A secret is read from standard input, never from the command line, which others can see.
"""

import secrets
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.errors import KinoraError
from marketplace.vault import lock, masters
from marketplace.vault.envelope import VaultError
from marketplace.vault.opening import turn
from partners.registry import ADAPTERS


class Command(BaseCommand):
    help = "Keep the secrets by which labs know us; see docs/operating.md."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        put = acts.add_parser("put", help="keep the secret that standard input brings")
        put.add_argument("lab")
        put.add_argument("field", choices=lock.FIELDS)
        acts.add_parser("list", help="which there are; never what they are")
        acts.add_parser("new-key", help="print a new master key")
        acts.add_parser("public", help="print the half of the master key that locks")
        acts.add_parser("turn", help="lock all for the first of two master keys")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            self.act(options)
        except KinoraError as error:
            raise CommandError(error.message) from None
        except VaultError as fault:
            raise CommandError(str(fault)) from None

    def act(self, options: dict[str, Any]) -> None:
        match options["act"]:
            case "put":
                self.put(options["lab"], options["field"])
            case "list":
                for each in lock.good():
                    until = f"until {each.ends_at:%Y-%m-%d %H:%M} UTC" if each.ends_at else "newest"
                    self.stdout.write(f"{each}  locked for {each.master}  {until}")
            case "new-key":
                self.stdout.write(secrets.token_urlsafe(32))
            case "public":
                self.stdout.write(masters.masters()[0].public.text())
            case "turn":
                self.stdout.write(f"{turn()} locked anew.")

    def put(self, lab: str, field: str) -> None:
        if lab not in ADAPTERS:
            raise CommandError(f"There is no lab {lab}; known: {', '.join(sorted(ADAPTERS))}.")
        kept = lock.lock(lab=lab, field=field, secret=sys.stdin.readline().strip(), by="command")
        self.stdout.write(f"{kept} is kept.")
