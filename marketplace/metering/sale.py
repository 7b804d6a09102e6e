"""What of all offers somebody may see, and what is said of the others: that there is no such model.

`access/windows.sql` decides; here its answers are only looked up. Whoever is not told of in them is
a stranger. What was asked for in vain is counted for the lab's log.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from marketplace.errors import InvalidInput, NotFound, NotYetOpen
from marketplace.metering.offer import OFFERS_SQL, OPEN, Offer, read

HIDDEN, SHOWN = "hidden", "shown"
WITHHELD = "withheld/withheld"  # how `runs.view` names what has become a secret
ACCESSES_SQL = "SELECT accesses(%s, %s, %s)::text"
DENIALS_SQL = "SELECT note_denials(%s::jsonb)"
LONGEST = 60.0  # seconds: what a sale lasts at most where nothing is known to change
Accesses = Mapping[int, str]  # release → decision, of those that are not open to everybody
STRANGER: Accesses = {}

denied: Counter[tuple[int, str]] = Counter()


class Seen(dict[str, Offer]):
    """Offers by `lab/model@version`, and by `lab/model` the newest that is open, else shown.

    withheld: name → release, of what is not to be seen.
    """

    def __init__(self, offers: Iterable[Offer] = ()) -> None:
        super().__init__()
        self.withheld: dict[str, int] = {}
        for offer in sorted(offers, key=lambda offer: offer.gate != OPEN):
            if offer.gate == HIDDEN:
                self.withheld.setdefault(offer.model, offer.release_id)
                self.withheld[offer.full_name] = offer.release_id
            else:
                self.setdefault(offer.model, offer)
                self[offer.full_name] = offer


@dataclass(frozen=True, slots=True)
class Sale:
    """Every offer as a stranger has it. lasts: seconds until the next instant that changes it."""

    offers: Sequence[Offer]
    lasts: float
    views: dict[frozenset[tuple[int, str]], Seen] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[tuple[str | None, float | None]]) -> "Sale":
        """From the rows of OFFERS_SQL."""
        found = list(rows)
        lasts = found[0][1] if found else None
        return cls(
            [read(text) for text, _ in found if text is not None],
            LONGEST if lasts is None else min(lasts, LONGEST),
        )

    @property
    def gated(self) -> list[int]:
        """The releases that are not open to everybody."""
        return [offer.release_id for offer in self.offers if offer.gate != OPEN]

    def seen(self, accesses: Accesses = STRANGER) -> Seen:
        """What somebody sees; made once for all who have the same access."""
        key = frozenset(accesses.items())
        if (view := self.views.get(key)) is None:
            view = self.views[key] = Seen(
                replace(offer, gate=accesses[offer.release_id])
                if offer.gate != OPEN and offer.release_id in accesses
                else offer
                for offer in self.offers
            )
        return view


def named(offers: Mapping[str, Offer], name: Any, said: str | None = None) -> Offer:
    """The offer that a body's `model` names. said: the caller's own word, where it is another.

    Raises InvalidInput, NotFound.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInput('model is required, such as "kinora/glyph".', param="model")
    if (offer := offers.get(name)) is None:
        if isinstance(offers, Seen) and (release := offers.withheld.get(name)) is not None:
            denied[release, HIDDEN] += 1
        raise NotFound(f"There is no model {(said or name)[:120]}.", param="model")
    return offer


def callable_now(offer: Offer) -> Offer:
    """The offer. Raises NotYetOpen where it may only be seen."""
    if offer.gate == OPEN:
        return offer
    denied[offer.release_id, offer.gate] += 1
    raise not_yet_open(offer)


def not_yet_open(offer: Offer) -> NotYetOpen:
    return NotYetOpen(
        f"{offer.model} is in early access. It opens for everybody at {offer.opens_at}.",
        param="model",
        opens_at=offer.opens_at,
    )


def drained() -> str | None:
    """What was denied since the last time, as `note_denials` takes it; None for nothing."""
    if not denied:
        return None
    taken = [{"release": r, "decision": d, "calls": n} for (r, d), n in denied.items()]
    denied.clear()
    return orjson.dumps(taken).decode()


def as_accesses(text: str) -> Accesses:
    """From the answer to ACCESSES_SQL."""
    return {int(release): decision for release, decision in orjson.loads(text).items()}


def withheld(releases: Iterable[int], team_id: UUID | None, user_id: int | None) -> set[int]:
    """Of these releases, those whose names a team and a person may not read."""
    with connection.cursor() as cursor:
        cursor.execute(ACCESSES_SQL, [list(releases), team_id, user_id])
        found = as_accesses(cursor.fetchone()[0])
    return {release for release, decision in found.items() if decision == HIDDEN}


def load_sale() -> Sale:
    """All there is, on Django's connection."""
    with connection.cursor() as cursor:
        cursor.execute(OFFERS_SQL)
        return Sale.of(cursor.fetchall())


def load_offers(team_id: UUID | None = None, user_id: int | None = None) -> Seen:
    """What a team and a person see, by name; none is a stranger. On Django's connection."""
    with connection.cursor() as cursor:
        sale = load_sale()
        accesses = STRANGER
        if (gated := sale.gated) and (team_id or user_id):
            cursor.execute(ACCESSES_SQL, [gated, team_id, user_id])
            accesses = as_accesses(cursor.fetchone()[0])
        if items := drained():
            cursor.execute(DENIALS_SQL, [items])
    return sale.seen(accesses)
