"""Template tags that show money, times, ids, states and the wheel, each in one fixed way."""

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from marketplace import money as amounts
from marketplace.metering.outcomes import IF, RULES
from marketplace.metering.quote import said
from marketplace.metering.units import unit_of
from marketplace.pages import wheel as mark
from marketplace.pages import words
from marketplace.runs.sessions import WORDS as SESSION_ENDS

register = template.Library()
register.simple_tag(mark.wheel, name="wheel")
register.filter("lasted", words.lasted)
register.filter("share", words.share)
register.filter("quantity", words.quantity)
register.filter("size", words.size)


@register.filter
def why_ended(reason: str | None) -> str:
    """The last words of a realtime session."""
    return SESSION_ENDS.get(reason or "", "")


@register.filter
def money(nano: int | None, currency: str = "USD") -> SafeString | str:
    """`$0.0042` with the exact amount and its currency on hover."""
    if nano is None:
        return "–"
    exact = f"{amounts.plain(nano)} {currency} · {nano:,} nano"
    return format_html(
        '<data class="money" value="{}" title="{}">{}</data>', nano, exact, amounts.shown(nano)
    )


@register.filter
def whole(nano: int, currency: str = "USD") -> SafeString:
    """Cents as one reads them, then every further digit that says something, softly."""
    said = amounts.plain(nano).replace("-", "−")
    cents, rest = said[: said.index(".") + 3], said[said.index(".") + 3 :]
    return format_html(
        '<data class="money" value="{}" title="{} nano {}">${}<span class="rest">{}</span></data>',
        nano,
        f"{nano:,}",
        currency,
        cents,
        rest,
    )


@register.filter
def signed(nano: int, currency: str = "USD") -> SafeString:
    """Money of a ledger line: a plus says that it came in."""
    exact = f"{amounts.plain(nano)} {currency} · {nano:,} nano"
    return format_html(
        '<data class="money{}" value="{}" title="{}">{}{}</data>',
        " in" if nano > 0 else "",
        nano,
        exact,
        "+" if nano > 0 else "",
        amounts.shown(nano),
    )


@register.filter
def ago(when: datetime | str | None) -> SafeString | str:
    """A relative time that is kept true by times.js, with the absolute on hover."""
    if not when:
        return "–"
    when = datetime.fromisoformat(when) if isinstance(when, str) else when
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        when.isoformat(),
        f"{when:%-d %B %Y, %H:%M:%S} UTC",
        words.ago(when, timezone.now()),
    )


@register.filter
def short(public_id: str) -> SafeString:
    """The end of an id, monospaced; a click copies the whole."""
    head, _, body = public_id.partition("_")
    return format_html(
        '<button type="button" class="copy" data-copy="{}" title="{}" aria-label="Copy {}">'
        "{}_…{}</button>",
        public_id,
        public_id,
        public_id,
        head,
        body[-6:],
    )


@register.filter
def state(name: str) -> SafeString:
    """A state as a shape and a word, never colour alone."""
    return format_html('<span class="state {}">{}</span>', name, words.STATES.get(name, name))


@register.filter
def state_word(name: str) -> str:
    return words.STATES.get(name, name)


@register.filter
def milliseconds(count: int) -> str:
    return words.lasted(count / 1000)


@register.filter
def bare_url(url: str) -> str:
    """An address without its scheme and query, for a narrow column."""
    return url.partition("://")[2].partition("?")[0]


@register.filter
def item(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)


@register.filter
def as_json(value: object) -> str:
    """An input as a caller would write it; a string without its quotes unless it is empty."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) and value else json.dumps(value)


@register.filter
def said_name(name: str) -> str:
    """`end_user` as a person reads it."""
    return name.replace("_", " ").capitalize()


@register.filter
def outcome(name: str) -> str:
    return words.OUTCOMES.get(name, name)


@register.filter
def charge_rule(name: str) -> str:
    return RULES.get(name, name)


@register.filter
def refund_reason(name: str) -> str:
    return words.REASONS.get(name, name)


@register.filter("words")
def plain_words(name: str) -> str:
    """`same_bytes` → `same bytes`."""
    return name.replace("_", " ")


@register.filter
def when(outcome: str) -> str:
    """When an outcome is so, as it stands after "if"."""
    return IF[outcome]


@register.filter
def funder(slug: str) -> str:
    """Who gave a credit."""
    return "Kinora" if slug == "kinora" else slug


@register.filter
def turn(scope: tuple[str, ...]) -> str:
    """When a credit that is not the first gets its turn."""
    return "Spent first by runs that it fits" if scope else "Spent where nothing closer fits"


@register.filter
def unit_label(name: str) -> str:
    return unit_of(name).label


@register.filter
def grouped(number: int) -> str:
    """`1,234,567`."""
    return f"{number:,}"


@register.filter
def exactly(nano: int) -> str:
    """All nine places, for ledger lines that a reader adds up."""
    sign = "−" if nano < 0 else ""
    return f"{sign}{abs(nano) // amounts.NANO}.{abs(nano) % amounts.NANO:09d}"


@register.filter
def said_line(line: dict[str, Any]) -> str:
    """`$0.01 per second of video`, or `from $0.04 per …` where it depends on the inputs."""
    found = said(line)
    start = "from " if found["varies"] else ""
    return f"{start}${found['amount']} per {found['label']}"


@register.filter
def spaced(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


@register.filter
def shown(nano: int) -> str:
    """Money where only plain text can stand."""
    return amounts.shown(nano)


@register.filter
def plainly(nano: int | None) -> str:
    """An exact amount in a text without markup."""
    return "none" if nano is None else amounts.plain(nano)


@register.filter
def budget_for(kind: str) -> str:
    return words.BUDGETS[kind]


@register.filter
def budget_when(period: str) -> str:
    return words.PERIODS[period]


@register.filter
def budget_period(period: str) -> str:
    return {"day": "daily", "month": "monthly", "total": "whole"}[period]
