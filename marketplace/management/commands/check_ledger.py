"""Ask the database for every invariant of the ledger and of what rooms above add to it."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.ledger.check import audit
from marketplace.ledger.models import Audit


class Command(BaseCommand):
    help = "Check the ledger's invariants; ends with status 1 where one is broken. Kept as a row."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="what was found, as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        done = audit()
        if options["json"]:
            self.stdout.write(json.dumps(as_json(done), indent=2))
        broken = [f for f in done.findings if f["count"]]
        if broken:
            raise CommandError(
                "\n".join(f"{f['count']} × {f['sentence']}: {', '.join(f['rows'])}" for f in broken)
            )
        if not options["json"]:
            self.stdout.write(f"{len(done.findings)} invariants hold ({done.seconds:.2f} s).")


def as_json(done: Audit) -> dict[str, Any]:
    kept = ("good", "seconds", "entries", "findings")
    return {"at": done.started_at.isoformat()} | {name: getattr(done, name) for name in kept}
