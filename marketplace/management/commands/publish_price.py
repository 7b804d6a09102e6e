"""Draft or publish a price version from a JSON file of lines; see `docs/prices.md`."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.errors import KinoraError
from marketplace.metering import segments
from marketplace.metering.draft import draft, publish_draft
from marketplace.metering.models import Price, PriceDraft
from marketplace.metering.publish import before_it, publish
from marketplace.metering.quote import PriceLines
from marketplace.metering.rise import Change, changes
from marketplace.money import shown

MOST_SHOWN = 20


class Command(BaseCommand):
    help = "Publish a price version; it supersedes the present one of its segment at an instant."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("release", help="such as kinora/glyph@2026-11-21")
        parser.add_argument("lines", type=Path, nargs="?", help="JSON file; none: the draft")
        whom = parser.add_mutually_exclusive_group()
        whom.add_argument("--segment", default=segments.LIST, help="list, team:<uuid>, window:<id>")
        whom.add_argument("--team", help="the team whose contract price it is: team_… or its UUID")
        for option, name in (("--from", "start"), ("--until", "stop")):
            parser.add_argument(
                option, dest=name, type=datetime.fromisoformat, help="2026-12-24T00:00:00+00:00"
            )
        parser.add_argument("--draft", action="store_true", help="keep it, to publish later")
        parser.add_argument("--dry-run", action="store_true", help="show what would change")

    def handle(self, *args: Any, **options: Any) -> None:
        release, segment = found(options["release"]), segment_of(options)
        try:
            lines = lines_of(release, segment, options["lines"])
            if options["dry_run"]:
                self.show(release, segment, lines, options["start"])
            with transaction.atomic():
                said = self.done(release, segment, lines, options)
                transaction.set_rollback(options["dry_run"])
        except (KinoraError, OSError, ValueError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{'Would say: ' * options['dry_run']}{said}")

    def done(
        self, release: Release, segment: str, lines: PriceLines, options: dict[str, Any]
    ) -> str:
        """Draft or publish, and what to say of it."""
        dates = {"effective_from": options["start"], "effective_to": options["stop"]}
        if options["draft"]:
            kept = draft(release=release, lines=lines, segment=segment, **dates)
            return f"{kept}: publish it by the same command without a file."
        if options["lines"] is None:
            price = publish_draft(release=release, segment=segment)
        else:
            price = publish(release=release, lines=lines, segment=segment, **dates)
        return f"{price} is the price of {segment} from {price.effective_from:%Y-%m-%d %H:%M} UTC."

    def show(
        self, release: Release, segment: str, lines: PriceLines, start: datetime | None
    ) -> None:
        """What sample runs cost at most, before and after."""
        versions = Price.objects.filter(release=release, currency="USD")
        before = before_it(versions, segments.checked(segment), start or timezone.now())
        if before is None:
            self.stdout.write("There is no price yet.")
            return
        self.stdout.write(f"{before}, {before.segment} → this one, {segment}:")
        for row in told(list(changes(release, before.lines, lines))):
            self.stdout.write(row)


def told(samples: list[Change]) -> Iterator[str]:
    """A line for each sample that changes, the dearest first, in what sets it apart."""
    plain = samples[0].inputs
    moved: dict[str, Change] = {}
    for sample in samples:
        apart = {n: v for n, v in sample.inputs.items() if plain.get(n) != v}
        asked = ", ".join(f"{n} {v}" for n, v in apart.items()) or "the defaults"
        moved.setdefault(f"{asked}, at {sample.at:%H:%M} UTC", sample)
    rows = [(name, s) for name, s in moved.items() if s.before != s.after]
    rows.sort(key=lambda row: (row[1].after or 0) - (row[1].before or 0), reverse=True)
    for name, sample in rows[:MOST_SHOWN]:
        yield f"  {amount(sample.before):>12} → {amount(sample.after):<12} {name}"
    if len(rows) > MOST_SHOWN:
        yield f"  and {len(rows) - MOST_SHOWN} more"
    if not rows:
        yield "  no sample run changes its price"


def amount(nano: int | None) -> str:
    return "not for sale" if nano is None else shown(nano)


def segment_of(options: dict[str, Any]) -> str:
    text = options["team"]
    if text is None:
        return str(options["segment"])
    return segments.contract(ids.private("team", text) or as_uuid(text))


def as_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"{text} is no team's id.") from None


def lines_of(release: Release, segment: str, file: Path | None) -> Any:
    """The file's lines, or the draft's."""
    if file is not None:
        return json.loads(file.read_text())
    kept = PriceDraft.objects.filter(release=release, segment=segment).first()
    if kept is None:
        raise CommandError(f"There is no draft of {release} for {segment}: name a file of lines.")
    return kept.lines


def found(name: str) -> Release:
    model, _, version = name.partition("@")
    lab, _, slug = model.partition("/")
    releases = Release.objects.filter(model__lab__slug=lab, model__slug=slug, version=version)
    if (release := releases.first()) is None:
        raise CommandError(f"There is no release {name}.")
    return release
