"""`manage.py grant_credit`: give a team a promotional credit, or take back what is unspent."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.catalog.models import Lab, Model
from marketplace.errors import InvalidInput, KinoraError
from marketplace.ledger.transfer import KINORA, PROMO_PRIORITY, grant_credit, void_credit
from marketplace.management.commands.refund import nano
from marketplace.money import Money


class Command(BaseCommand):
    help = "Grant a credit once per --reference; --void takes back what is unspent of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("team", nargs="?", help="team_…")
        parser.add_argument("amount", nargs="?", type=nano, help="in US dollars, such as 5 or 0.25")
        parser.add_argument("--reference", required=True, help="what makes this credit happen once")
        parser.add_argument("--name", default="Credit", help="what the team reads")
        parser.add_argument("--note", default="", help="why; the team reads it")
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            metavar="LAB[/MODEL]",
            help="what it may be spent on; repeat for several, leave out for everything",
        )
        parser.add_argument("--funder", default=KINORA, help="kinora or the lab that pays for it")
        parser.add_argument(
            "--expires", metavar="DAY", help="2026-12-31 (the end of it, UTC) or 30d"
        )
        parser.add_argument("--priority", type=int, default=PROMO_PRIORITY, help="lower goes first")
        parser.add_argument("--void", action="store_true", help="take back what is unspent")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            said = self.void(**options) if options["void"] else self.grant(**options)
        except KinoraError as error:
            raise CommandError(error.message) from error
        self.stdout.write(said)

    def void(self, *, reference: str, team: str | None, note: str, **_: Any) -> str:
        if team is not None:
            raise CommandError("--void takes only --reference, and a --note.")
        taken = void_credit(reference=reference, note=note or "Credit taken back")
        return f"{reference}  {taken} taken back"

    def grant(self, *, team: str | None, amount: int | None, expires: str | None, **o: Any) -> str:
        if team is None or amount is None:
            raise CommandError("Say which team and how much: grant_credit team_… 5 --reference …")
        known(o["scope"], o["funder"])
        kept = ("reference", "name", "note", "scope", "funder", "priority")
        grant_credit(
            team=found_team(team),
            amount=amount,
            expires_at=end(expires),
            **{name: o[name] for name in kept},
        )
        return f"{o['reference']}  {Money(amount)} granted to {team}"


def found_team(text: str) -> Team:
    team_id = ids.private("team", text)
    team = Team.objects.filter(id=team_id).first() if team_id else None
    if team is None:
        raise InvalidInput(f"There is no team {text}.", param="team")
    return team


def known(scope: list[str], funder: str) -> None:
    """Raises InvalidInput for a lab or a model that is not in the catalog: a typo funds nobody."""
    labs = set(Lab.objects.values_list("slug", flat=True))
    models = {str(model) for model in Model.objects.select_related("lab")}
    if missing := [part for part in scope if part not in labs | models]:
        raise InvalidInput(f"There is no lab or model {', '.join(missing)}.", param="scope")
    if funder not in labs | {KINORA}:
        raise InvalidInput(f"The funder is {KINORA} or a lab, not {funder}.", param="funder")


def end(text: str | None) -> datetime | None:
    """When a credit expires: the end of a day, or so many days from now. Raises InvalidInput."""
    if text is None:
        return None
    try:
        if text.endswith("d"):
            at = timezone.now() + timedelta(days=int(text[:-1]))
        else:
            at = datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        said = f"{text} is not a day such as 2026-12-31, nor days such as 30d."
        raise InvalidInput(said, param="expires") from None
    if at <= timezone.now():
        raise InvalidInput(f"{text} is in the past.", param="expires")
    return at
