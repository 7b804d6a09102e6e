"""Read what somebody asks of a budget, field by field; each fault names its field.

The API and the page say the same fields in JSON values and in text. Knows catalog and keys only to
refuse what does not exist.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.db import connection

from marketplace import ids
from marketplace.access.attribution import end_user, project_tag
from marketplace.access.models import EACH, Budget
from marketplace.accounts.models import Member, Team
from marketplace.catalog.models import Lab
from marketplace.errors import InvalidInput
from marketplace.money import parse

DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
FIXED = ("kind", "subject", "period")  # a budget is for one thing; another thing is another budget
LIMITS = ("limit", "hard", "models", "max_per_run", "concurrency")
MOST_MODELS = 100
SEEN_SQL = """
SELECT EXISTS (
    SELECT 1 FROM catalog_lab l JOIN catalog_model m ON m.lab_id = l.id
      JOIN catalog_release r ON r.model_id = m.id
     CROSS JOIN LATERAL release_access(r.id, %s, NULL) AS a
     WHERE l.slug = %s AND m.slug = %s AND a.decision <> 'hidden')
"""
MOST_AT_ONCE = 10_000


def limits(data: Mapping[str, Any], team: Team) -> dict[str, Any]:
    """The columns of Budget that `data` sets. Raises InvalidInput."""
    columns: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
        "limit": ("amount", amount),
        "max_per_run": ("max_per_run", amount),
        "hard": ("hard", switch),
        "models": ("allowed", partial(models, team=team)),
        "concurrency": ("concurrency", concurrency),
    }
    found = {}
    for name in LIMITS:
        if name in data:
            column, read = columns[name]
            found[column] = read(data[name], name)
    return found


def known(data: Mapping[str, Any], *names: str) -> None:
    """Raises InvalidInput where a field is none of these."""
    for field in data:
        if field not in names:
            raise InvalidInput(
                f"{field[:80]} is not a field here. Known fields: {', '.join(names)}.",
                param=field[:80],
            )


def some_limit(budget: Budget) -> None:
    """Raises InvalidInput where a budget would limit nothing."""
    if not (budget.amount or budget.allowed or budget.max_per_run or budget.concurrency):
        raise InvalidInput(
            "limit must be given, or models, max_per_run or concurrency.", param="limit"
        )


def amount(value: Any, param: str) -> int | None:
    """Nano-units; more than 0."""
    if value is None:
        return None
    if isinstance(value, bool | float) or not isinstance(value, str | int):
        raise InvalidInput(
            f'{param} must be a decimal number in a string, such as "25.00".', param=param
        )
    text = str(value)
    try:
        found = parse(text if DECIMAL.fullmatch(text) else "")
    except ValueError as reason:
        raise InvalidInput(f"{param} {reason}.", param=param) from None
    if found == 0:
        raise InvalidInput(f"{param} must be more than 0.", param=param)
    return found


def switch(value: Any, param: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{param} must be true or false.", param=param)
    return value


def concurrency(value: Any, param: str) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and 1 <= value <= MOST_AT_ONCE):
        raise InvalidInput(
            f"{param} must be a whole number from 1 to {MOST_AT_ONCE:,}.", param=param
        )
    found: int | None = value
    return found


def models(value: Any, param: str, *, team: Team) -> list[str]:
    """`lab` or `lab/model`, each one that exists as far as the team may know."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_MODELS:
        raise InvalidInput(f"{param} must be a list of at most {MOST_MODELS} names.", param=param)
    for name in value:
        if not isinstance(name, str) or not on_sale(name, team):
            raise InvalidInput(
                f"{param} must hold labs or models, such as kinora or kinora/glyph; "
                f"there is no {str(name)[:80]!r}.",
                param=param,
            )
    return sorted(set(value))


def on_sale(name: str, team: Team) -> bool:
    lab, slash, model = name.partition("/")
    if "\0" in name:
        return False
    if slash:
        with connection.cursor() as cursor:
            cursor.execute(SEEN_SQL, [team.id, lab, model])
            return bool(cursor.fetchone()[0])
    return Lab.objects.filter(slug=lab).exists()


# ── whose ─────────────────────────────────────────────────────────────────────────────────────


def choice(value: Any, names: list[str], param: str) -> str:
    if isinstance(value, str) and value in names:
        return value
    raise InvalidInput(f"{param} must be one of {', '.join(names)}.", param=param)


def subject(value: Any, kind: str, team: Team) -> str:
    """As the budget keeps it. Raises InvalidInput where the team has none such."""
    if kind == Budget.Kind.TEAM:
        if value not in (None, ""):
            raise InvalidInput("subject must be left out for the team.", param="subject")
        return ""
    return EACH if value == EACH else SUBJECTS[kind](value, team)


def member(value: Any, team: Team) -> str:
    found = isinstance(value, str) and "\0" not in value
    person = Member.objects.filter(team=team, user__email__iexact=value).first() if found else None
    if person is None:
        raise InvalidInput(
            "subject must be * or the e-mail address of a member of this team.", param="subject"
        )
    return str(person.user_id)


def key(value: Any, team: Team) -> str:
    key_id = ids.private("key", value) if isinstance(value, str) else None
    if key_id is None or not team.keys.filter(id=key_id).exists():
        raise InvalidInput("subject must be * or the id of a key of this team.", param="subject")
    return str(key_id)


SUBJECTS: Mapping[str, Callable[[Any, Team], str]] = {
    "member": member,
    "key": key,
    "project": lambda value, _: project_tag(value, "subject"),
    "end_user": lambda value, _: end_user(value, "subject"),
}
