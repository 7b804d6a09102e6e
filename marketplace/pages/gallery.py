"""The models on sale as a list that one narrows, searches and sorts; the address says how.

How fast and how surely a model runs comes from the folded days of real runs, not from the runs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from marketplace.metering.offer import Offer
from marketplace.metering.sample import plain
from marketplace.metering.units import unit_of
from marketplace.pages.explore import (
    Shown,
    cost,
    examples_of,
    newest_offers,
    said_price,
    usual_seconds,
)
from marketplace.runs.pace import Pace, paces

NO_PACE = Pace()
SPEEDS = (("fast", "Under 5 s", 5.0), ("steady", "5 to 30 s", 30.0), ("long", "Over 30 s", None))
UNTRIED = ("untried", "Not run lately")


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the list. typical: nano-units of a run with the defaults, if it has a price."""

    offer: Offer
    example: Shown | None
    pace: Pace
    typical: int | None

    @property
    def href(self) -> str:
        return reverse("model", args=self.offer.model.split("/"))

    @property
    def price(self) -> list[tuple[str, str]]:
        return said_price(self.offer.price_lines)

    @property
    def published(self) -> str:
        """How long a run usually computes by the release's word, where nobody ran it lately."""
        return usual_seconds(self.offer)

    @property
    def words(self) -> str:
        """What a search looks through."""
        offer = self.offer
        said = (offer.model, offer.title, offer.lab, offer.task, offer.summary)
        return " ".join(said).casefold()


# ── what one narrows by ───────────────────────────────────────────────────────────────────────


def tasks(entry: Entry) -> list[tuple[str, str]]:
    return [(entry.offer.task, entry.offer.task.replace("-", " ").capitalize())]


def labs(entry: Entry) -> list[tuple[str, str]]:
    return [(entry.offer.model.partition("/")[0], entry.offer.lab)]


def units(entry: Entry) -> list[tuple[str, str]]:
    found = {unit.partition(":")[0] for unit in entry.offer.price.book.units}
    return [(unit, f"Per {unit_of(unit).label}") for unit in sorted(found)]


def speed(entry: Entry) -> list[tuple[str, str]]:
    median = entry.pace.median
    if median is None:
        return [UNTRIED]
    return next([(v, said)] for v, said, most in SPEEDS if most is None or median < most)


FACETS: Mapping[str, tuple[str, Callable[[Entry], list[tuple[str, str]]]]] = {
    "task": ("Task", tasks),
    "lab": ("Lab", labs),
    "unit": ("Priced", units),
    "speed": ("Speed", speed),
}
ORDER = [value for value, _, _ in SPEEDS] + [UNTRIED[0]]  # of speeds; the others by their words


def last_if_none(value: float | None) -> tuple[bool, float]:
    return value is None, value or 0


SORTS: Mapping[str, tuple[str, Callable[[Entry], Any]]] = {
    "used": ("Most used", lambda e: -e.pace.runs),
    "price": ("Cheapest run", lambda e: last_if_none(e.typical)),
    "speed": ("Fastest", lambda e: last_if_none(e.pace.median)),
    "success": ("Most reliable", lambda e: last_if_none(e.pace.success and -e.pace.success)),
    "name": ("Name", lambda e: e.offer.title.casefold()),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the address asks for; what it says wrongly is left out."""

    text: str
    chosen: Mapping[str, frozenset[str]]
    sort: str

    @classmethod
    def of(cls, query: QueryDict) -> "Wish":
        sort = query.get("sort", "")
        return cls(
            text=" ".join(query.get("q", "")[:80].split()),
            chosen={name: frozenset(query.getlist(name)) for name in FACETS},
            sort=sort if sort in SORTS else next(iter(SORTS)),
        )

    def takes(self, entry: Entry, *, but: str = "") -> bool:
        """Whether the entry fits all that is asked for. but: a facet that is left out."""
        if not all(word in entry.words for word in self.text.casefold().split()):
            return False
        return all(
            name == but or not chosen or chosen & {value for value, _ in FACETS[name][1](entry)}
            for name, chosen in self.chosen.items()
        )

    def address(self) -> str:
        """The page that shows just this, without what goes without saying."""
        asked: dict[str, Any] = {"q": self.text} if self.text else {}
        asked |= {name: sorted(values) for name, values in self.chosen.items() if values}
        if self.sort != next(iter(SORTS)):
            asked["sort"] = self.sort
        query = urlencode(asked, doseq=True)
        return reverse("models") + (f"?{query}" if query else "")


def facets(entries: Iterable[Entry], wish: Wish) -> list[dict[str, Any]]:
    """Each facet with its values, and how many models each would show beside the other facets."""
    found = []
    for name, (title, of) in FACETS.items():
        known = {value: said for entry in entries for value, said in of(entry)}
        counts = dict.fromkeys(known, 0)
        for entry in entries:
            for value, _ in of(entry):
                counts[value] += wish.takes(entry, but=name)
        values = [
            {"value": v, "said": known[v], "count": counts[v], "on": v in wish.chosen[name]}
            for v in sorted(known, key=lambda v: (ORDER.index(v) if v in ORDER else 0, known[v]))
        ]
        found.append({"name": name, "title": title, "values": values})
    return found


# ── the page ──────────────────────────────────────────────────────────────────────────────────


def entries_for(offers: list[Offer]) -> list[Entry]:
    first = {shown.offer.release_id: shown for shown in reversed(examples_of(offers))}
    known = paces()
    return [
        Entry(
            offer=offer,
            example=first.get(offer.release_id),
            pace=known.get(offer.model, NO_PACE),
            typical=cost(offer, plain(offer.schema)),
        )
        for offer in offers
    ]


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The list; to htmx only what a change of the form changes."""
    entries, wish = entries_for(newest_offers(request)), Wish.of(request.GET)
    found = [entry for entry in entries if wish.takes(entry)]
    context = {
        "entries": sorted(found, key=SORTS[wish.sort][1]),
        "all": len(entries),
        "facets": facets(entries, wish),
        "narrowed": any(wish.chosen.values()) or wish.text,
        "wish": wish,
        "sorts": [(name, said) for name, (said, _) in SORTS.items()],
    }
    if not getattr(request, "htmx", False):
        return render(request, "models/index.html", context)
    answer = render(request, "models/found.html", context | {"swap": True})
    answer["HX-Replace-Url"] = wish.address()
    return answer
