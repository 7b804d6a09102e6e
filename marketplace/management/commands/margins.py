"""`manage.py margins`: what is left per release and outcome after refunds and what it cost us."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from marketplace.money import Money
from marketplace.runs.margin import margins


class Command(BaseCommand):
    help = "Charge, refunds, labs' share, cost and margin per release and outcome of the last days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=30)

    def handle(self, *_: Any, **options: Any) -> None:
        now = timezone.now()
        for row in margins(now - timedelta(days=options["days"]), now):
            said = "  ".join(
                f"{name} {Money(row[name], 'USD')}"
                for name in ("charged", "refunded", "share", "cost", "margin")
            )
            release = f"{row['model']}@{row['release']}"
            self.stdout.write(f"{release}  {row['outcome']}  {row['runs']} runs  {said}")
