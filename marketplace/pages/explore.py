"""Each model's own page with its playground, and what every page says of a model."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import slugify
from django.views.decorators.http import require_GET

from marketplace.catalog.models import Example, Release
from marketplace.dialects.snippets import snippets
from marketplace.errors import InvalidInput, NotFound
from marketplace.metering.inputs import in_order
from marketplace.metering.offer import Offer
from marketplace.metering.outcomes import rule_of
from marketplace.metering.quote import PriceLines, said
from marketplace.metering.sale import Seen, load_offers, named
from marketplace.metering.sample import plain
from marketplace.metering.segments import LIST
from marketplace.pages.form import InputsForm, LimitForm, inputs_form
from marketplace.pages.team import session_team
from marketplace.pages.words import OUTCOMES, lasted
from marketplace.runs.pace import paces

NEWEST = 24
WALL = 18


@dataclass(frozen=True, slots=True)
class Shown:
    """An example with what it costs today. kind: image or video."""

    offer: Offer
    example: Example

    @property
    def prompt(self) -> str:
        return str(self.example.inputs.get("prompt", ""))

    @property
    def href(self) -> str:
        """The playground, filled in so that it draws this very picture again."""
        page = reverse("model", args=self.offer.model.split("/"))
        return f"{page}?{urlencode(self.example.inputs)}"

    @property
    def film(self) -> str:
        """The recorded frames beside the picture, from noise to result."""
        return self.example.image.removesuffix(".png") + ".film.png"

    @property
    def expected(self) -> int | None:
        return cost(self.offer, {**self.offer.defaults, **self.example.inputs})


def newest_offers(request: HttpRequest) -> list[Offer]:
    """One offer per model, its newest release, as whoever looks sees and buys it."""
    return [own(request, offer) for name, offer in seen(request).items() if "@" not in name]


def find_offer(request: HttpRequest, lab: str, slug: str) -> Offer:
    """A model as whoever looks sees and buys it. Raises Http404."""
    try:
        return own(request, named(seen(request), f"{lab}/{slug}"))
    except NotFound:
        raise Http404("There is no such model.") from None


def seen(request: HttpRequest) -> Seen:
    """What the team acted for and the person may see."""
    team = session_team(request)
    return load_offers(team.id if team else None, request.user.pk)


def own(request: HttpRequest, offer: Offer) -> Offer:
    team = session_team(request)
    return offer.for_team(team.id if team else None)


def examples_of(offers: list[Offer]) -> list[Shown]:
    """The examples of these offers, in the order the catalog gives them."""
    by_release = {offer.release_id: offer for offer in offers}
    rows = Example.objects.filter(release_id__in=by_release).order_by("position", "id")[:NEWEST]
    return [Shown(by_release[row.release_id], row) for row in rows]


def cost(offer: Offer, inputs: Mapping[str, Any]) -> int | None:
    """What a run is expected to cost in nano-units; None where it has no price."""
    try:
        return offer.quote(inputs).expected
    except InvalidInput:
        return None


UP = {True: "and up ", False: ""}


def said_price(lines: PriceLines) -> list[tuple[str, str]]:
    """Price lines for a reader: the least amount and what it buys."""
    found = [said(line) for line in lines]
    return [
        (str(line["amount"]), f"{UP[bool(line['varies'])]}per {line['label']}") for line in found
    ]


def usual_seconds(offer: Offer) -> str:
    """How long a run with the defaults usually computes, where the release publishes it."""
    facts = offer.facts.published
    if "gpu_seconds_per_step" not in facts:
        return ""
    steps = offer.defaults.get("steps", facts.get("steps", 20))
    return lasted(float(Decimal(str(facts["gpu_seconds_per_step"])) * Decimal(steps)))


def page_context(offer: Offer, form: InputsForm) -> dict[str, Any]:
    """What the model's page and its form's partial show."""
    release = Release.objects.select_related("model__lab").get(pk=offer.release_id)
    lab, _, slug = offer.model.partition("/")
    return {
        "offer": offer,
        "lab": lab,
        "slug": slug,
        "release": release,
        "outcomes": [(name, rule_of(offer.price.policy, name)) for name in OUTCOMES],
        "form": form,
        "limit": LimitForm(),
        "examples": examples_of([offer]),
        "price": said_price(offer.price_lines),
        "session_price": said_price(offer.session.lines) if offer.session else [],
        "list_price": said_price(offer.prices[LIST].lines) if offer.is_contract else [],
        "later_price": said_price(offer.upcoming.lines) if offer.upcoming else [],
        "typical": cost(offer, plain(offer.schema)),
        "seconds": usual_seconds(offer),
        "predicted": offer.predicted(plain(offer.schema)),
        "pace": paces().get(offer.model),
        "properties": properties(offer),
        "ways": ways(offer),
        "once": uuid.uuid4(),
        "opens": instant(offer.opens_at),
        "retires": instant(offer.retires_at),
    }


def instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


LABELS = {"curl": "curl", "python": "Python", "javascript": "JavaScript"}


def ways(offer: Offer) -> list[dict[str, Any]]:
    """A client after the other, each with its snippets."""
    found: dict[str, list[dict[str, str]]] = {}
    for way in snippets(offer, settings.SITE_URL):
        shown = {"language": way.language, "label": LABELS[way.language], "code": way.code}
        found.setdefault(way.client, []).append(shown)
    return [{"client": c, "slug": slugify(c), "snippets": several} for c, several in found.items()]


def properties(offer: Offer) -> list[dict[str, Any]]:
    """The input schema as rows of a table."""
    required = offer.schema.get("required", [])
    rows = []
    for name in in_order(offer.schema):
        prop = offer.schema["properties"][name]
        least, most = prop.get("minimum"), prop.get("maximum")
        allowed = ", ".join(map(str, prop.get("enum", [])))
        if least is not None or most is not None:
            allowed = f"{least} to {most}"
        rows.append(
            {
                "name": name,
                "required": name in required,
                "allowed": allowed,
                "has_default": "default" in prop,
                **prop,
            }
        )
    return rows


@require_GET
def model(request: HttpRequest, lab: str, slug: str) -> HttpResponse:
    """One model; a visitor may read all of it and is asked to sign up to run it."""
    offer = find_offer(request, lab, slug)
    first = next((shown.prompt for shown in examples_of([offer])), "")
    given = {
        name: value for name, value in request.GET.items() if name in offer.schema["properties"]
    }
    form = inputs_form(offer.schema)(initial={**offer.defaults, "prompt": first, **given})
    return render(request, "models/model.html", page_context(offer, form))
