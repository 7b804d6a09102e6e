"""What a team paid for: a chart by day and a table of which every cell is a filter."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from marketplace import ids
from marketplace.accounts.models import ApiKey, Team
from marketplace.errors import InvalidInput
from marketplace.money import plain
from marketplace.pages import words
from marketplace.pages.chart import Chart, chart
from marketplace.pages.team import team_page
from marketplace.runs.focus import Echo, streamed
from marketplace.runs.usage import Line, Wish, dims_json, usage, wished

MOST_ROWS = 100
STACKS = ("model", "key", "project")  # the chart is stacked by the first that is not filtered
NAMES = {"model": "Model", "release": "Release", "key": "Key", "project": "Project"}
NO_PROJECT = "No project"


@dataclass(frozen=True)
class Place:
    """An address of the page: what its links keep and change."""

    wish: Wish
    by_day: bool = False
    known: dict[tuple[str, Any], str] = field(default_factory=dict, compare=False)

    def to(self, **changed: Any) -> str:
        """The address with other filters; None drops one."""
        asked: dict[str, Any] = {"from": self.wish.first, "to": self.wish.last}
        asked |= {**said(self.wish.filters), **({"by": "day"} if self.by_day else {}), **changed}
        kept = {name: value for name, value in asked.items() if value is not None}
        return f"?{urlencode(kept)}"

    def narrowed(self, name: str, value: Any) -> str:
        """The address with one filter more, worked out once for all rows that link to it."""
        if (name, value) not in self.known:
            self.known[name, value] = self.to(**said({name: value}))
        return self.known[name, value]


@dataclass(frozen=True)
class Cell:
    """url: of the page with this as a filter; none where it is one already."""

    text: str
    url: str = ""


@team_page
@require_GET
def index(request: HttpRequest, team: Team) -> HttpResponse:
    """One statement for the totals, the chart and the table, all of one snapshot."""
    asked, fault = request.GET.dict(), ""
    try:
        wish = wished(team.id, asked)
    except InvalidInput as error:
        wish, fault = wished(team.id, {}), error.message
    place = Place(wish, by_day=asked.get("by") == "day")
    stack = next((name for name in STACKS if name not in wish.filters), "release")
    dims = ("day",) * place.by_day + STACKS
    totals, lines, stacked = usage(wish, (), dims, bare=[("day", stack)])
    names = {key.id: key.name for key in ApiKey.objects.filter(team=team)}
    context = {
        "wish": wish,
        "fault": fault,
        "periods": periods(place),
        "filters": active(place, names),
        "kept": said(wish.filters) | ({"by": "day"} if place.by_day else {}),
        "clear": Place(replace(wish, filters={}), place.by_day).to(),
        "by": {"day": place.to(by="day"), "sum": place.to(by=None), "on": place.by_day},
        "total": totals[0] if totals else Line({}, "USD"),
        **drawn(place, stack, stacked, names),
        "heads": ["Day"] * place.by_day + [NAMES[name] for name in STACKS],
        "rows": table(place, lines, names),
        "left_out": max(0, len(lines) - MOST_ROWS),
        "exports": exports(place),
    }
    return render(request, "usage/index.html", context)


def said(filters: Mapping[str, Any]) -> dict[str, str]:
    """Filters as they stand in an address."""
    text = {name: value for name, value in filters.items() if name != "key"}
    if "key" in filters:
        text |= dims_json({"key_id": filters["key"]})
    return text


def named(what: str, value: Any, names: Mapping[Any, str]) -> str:
    """A filter's value as a person reads it."""
    if what == "key":
        return names.get(value, ids.public("key", value)) if value else "Playground"
    return str(value) or NO_PROJECT


def active(place: Place, names: Mapping[Any, str]) -> list[dict[str, str]]:
    """What is filtered by, each with the address without it."""
    return [
        {"name": NAMES[name], "text": named(name, value, names), "url": place.to(**{name: None})}
        for name, value in place.wish.filters.items()
    ]


def periods(place: Place) -> list[dict[str, Any]]:
    """The spans one often wants, the present one marked."""
    today = timezone.now().date()
    month = today.replace(day=1)
    before = month - timedelta(days=1)
    spans = {f"{days} days": (today - timedelta(days=days - 1), today) for days in (7, 30, 90)}
    spans |= {"This month": (month, today), "Last month": (before.replace(day=1), before)}
    now = (place.wish.first, place.wish.last)
    return [
        {"name": name, "url": place.to(**{"from": span[0], "to": span[1]}), "on": span == now}
        for name, span in spans.items()
    ]


def drawn(place: Place, stack: str, lines: list[Line], names: Mapping[Any, str]) -> dict[str, Any]:
    """The chart with an address for every bar and every name of its legend."""
    column = "key_id" if stack == "key" else stack
    values = {named(stack, line.dims[column], names): line.dims[column] for line in lines}
    amounts = {
        (line.dims["day"], named(stack, line.dims[column], names)): line.charged
        for line in lines
        if line.charged
    }
    made = chart(place.wish.first, place.wish.last, amounts)
    legend = [
        (each, place.to(**said({stack: values[each.name]})) if each.name is not None else "")
        for each in made.series
    ]
    return {"chart": made, "bars": bars(place, made), "legend": legend, "stack": NAMES[stack]}


def bars(place: Place, made: Chart) -> list[tuple[Any, str]]:
    return [(bar, place.to(**{"from": bar.first, "to": bar.last})) for bar in made.bars]


def table(place: Place, lines: list[Line], names: Mapping[Any, str]) -> list[dict[str, Any]]:
    """The rows that cost most first; by day, the newest day first."""
    if not place.by_day:
        lines = sorted(lines, key=lambda line: (-line.paid, -line.runs))
    return [
        {"line": line, "cells": cells(place, line, names), "units": words.units(line.units)}
        for line in lines[:MOST_ROWS]
    ]


def cells(place: Place, line: Line, names: Mapping[Any, str]) -> list[Cell]:
    found = []
    if place.by_day:
        day: date = line.dims["day"]
        found.append(Cell(f"{day:%-d %b %Y}", place.to(**{"from": day, "to": day})))
    for name in STACKS:
        value = line.dims["key_id" if name == "key" else name]
        url = "" if name in place.wish.filters else place.narrowed(name, value)
        found.append(Cell(named(name, value, names), url))
    return found


# ── what leaves as a file ─────────────────────────────────────────────────────────────────────


def exports(place: Place) -> dict[str, str]:
    """Addresses of the files for the same days; the statement ends before its `to`."""
    first, last = place.wish.first, place.wish.last
    days = urlencode({"from": first, "to": last + timedelta(days=1)})
    query = place.to(by=None)
    return {
        "csv": f"{reverse('usage_csv')}{query}",
        "focus": f"{reverse('usage_focus')}{query}",
        "statement": f"{reverse('statement')}?{days}",
    }


@team_page
@require_GET
def download(request: HttpRequest, team: Team) -> HttpResponseBase:
    """The same days and filters as CSV: a row per day, release, key and project."""
    try:
        wish = wished(team.id, request.GET.dict())
    except InvalidInput as error:
        return HttpResponseBadRequest(error.message, content_type="text/plain")
    [lines] = usage(wish, ("day", "release", "key", "project"))
    name = f"kinora-usage-{wish.first}-{wish.last}.csv"
    return HttpResponse(
        "".join(csv_rows(lines)),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
        },
    )


@team_page
@require_GET
def focus(request: HttpRequest, team: Team) -> HttpResponseBase:
    """The same days in the format of FinOps tools."""
    try:
        return streamed(team, wished(team.id, request.GET.dict()))
    except InvalidInput as error:
        return HttpResponseBadRequest(error.message, content_type="text/plain")


def csv_rows(lines: list[Line]) -> Iterator[str]:
    writer = csv.writer(Echo())
    money = ("charged", "given_back", "refunded", "paid")
    heads = ("day", "model", "release", "key", "project", "currency", "runs", "charged_runs")
    yield writer.writerow((*heads, *money, "units"))
    for line in lines:
        dims = dims_json(line.dims)
        yield writer.writerow(
            (
                *(dims[name] for name in heads[:5]),
                *(line.currency, line.runs, line.charged_runs),
                *(plain(getattr(line, name)) for name in money),
                "; ".join(
                    f"{unit} {quantity.normalize():f}" for unit, quantity in line.units.items()
                ),
            )
        )
