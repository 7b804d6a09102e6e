"""Every address of the pages that takes a POST, by everybody: a role does what its keys could.

The addresses come from the URL map: one that is not in the table below must refuse a POST.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.accounts import keys
from marketplace.accounts.models import User
from marketplace.catalog.models import Lab, Release
from marketplace.pages.urls import urlpatterns
from marketplace.payouts.invoice import read
from marketplace.payouts.models import Difference, PriceProposal
from marketplace.payouts.propose import propose
from marketplace.runs.invoices import bring
from marketplace.runs.labs import Fate
from marketplace.runs.models import Uncosted
from marketplace.webhooks import endpoints
from tests.conftest import PASSWORD, Person, join
from tests.journeys.books import delivered, settle
from tests.marketplace import worker
from tests.marketplace.pages.test_webhooks import WISH, tried
from tests.marketplace.supply import admit

pytestmark = pytest.mark.django_db(transaction=True)

WHO = ("owner", "developer", "viewer", "outsider", "stranger", "admin")
NOTHING = ids.uuid7()  # an id that nobody has
LIMIT = {"kind": "team", "period": "day", "limit": "3.00", "hard": "yes"}
DECISION = {"act": "void", "words": "Sorry.", "why": "tests", "confirmed": "1"}
PLAY = {"prompt": "salt", "size": "512x512", "count": "1", "latency_ms": "0"}


@dataclass(frozen=True)
class Post:
    """What is sent, to what of ada's team, and who may. quiet: an answer changes nothing."""

    may: tuple[str, ...]
    of: str = ""  # a thing of the studio; others find none
    data: dict[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    quiet: bool = False


OWNERS, WORKERS, ADMINS = ("owner",), ("owner", "developer"), ("admin",)
STILL = ("rehearsal", "still")
POSTS = {
    "trial": Post(WHO, data={"prompt": "red heart"}, quiet=True),
    "team_choose": Post(("owner", "developer", "viewer"), of="studio"),
    "price": Post(WHO, args=STILL, data=PLAY, quiet=True),
    "play": Post(WORKERS, args=STILL, data=PLAY),
    "session": Post(WORKERS, args=("kinora", "glyph"), quiet=True),
    "run_cancel": Post(WORKERS, of="waiting"),
    "run_refund": Post(WORKERS, of="charged", data={"reason": "other", "note": "too dark"}),
    "announce_file": Post(WORKERS, data={"name": "a.png"}),
    "budget_new": Post(OWNERS, data=LIMIT | {"subject": ""}),
    "budget_zone": Post(OWNERS, data={"zone": "Europe/Berlin"}),
    "budget": Post(OWNERS, of="budget", data={"limit": "7.00", "hard": "yes"}),
    "budget_close": Post(OWNERS, of="budget"),
    "budget_reopen": Post(OWNERS, of="closed"),
    "exception": Post(ADMINS, of="disputed", data=DECISION),
    "uncosted": Post(ADMINS, of="uncosted", data={"amount": "0.03", "why": "invoice"}),
    "fate": Post(ADMINS, of="doubtful", data={"state": "absent", "why": "the lab's word"}),
    "lab_proposal": Post(ADMINS, of="wish", data={"decision": "refuse", "answer": "too dear"}),
    "lab_difference": Post(ADMINS, of="strange", data={"decision": "booked", "why": "theirs"}),
    "audit": Post(ADMINS),
    "webhooks": Post(WORKERS, data=WISH),
    "webhook_own_secret": Post(WORKERS, data={"turn": "1"}),
    "webhooks_replay": Post(WORKERS, of="team"),
    "delivery_replay": Post(WORKERS, of="delivery"),
    "webhook": Post(WORKERS, of="endpoint", data=WISH | {"name": "Till"}),
    "webhook_test": Post(WORKERS, of="endpoint"),
    "webhook_rotate": Post(WORKERS, of="endpoint"),
    "webhook_switch": Post(WORKERS, of="endpoint", data={"off": "1"}),
    "webhook_remove": Post(WORKERS, of="endpoint"),
    "keys": Post(WORKERS, data={"name": "laptop"}),
    "key_revoke": Post(WORKERS, of="key"),
}
NAMES = [str(pattern.name) for pattern in urlpatterns if isinstance(pattern, URLPattern)]


@dataclass(frozen=True)
class Studio:
    """Ada's team with one of everything; who comes to it, and the public ids of its things."""

    browsers: dict[str, Client]
    team_id: UUID
    outsiders: UUID
    things: dict[str, str]

    def address(self, name: str) -> str:
        post = POSTS[name]
        named = (self.things[post.of],) if self.things.get(post.of) else ()
        return reverse(name, args=post.args or named)


@pytest.fixture
def studio(
    ada: Person,
    ben: Person,
    cy: Person,
    rook: User,
    still: Release,
    clip: Release,
    glyph: Release,
) -> Studio:
    mia = join("mia", team=ada.team, role="developer")
    people = {"owner": ada.user, "developer": mia.user, "viewer": ben.user, "outsider": cy.user}
    browsers = {who: Client() for who in WHO}
    for who, user in (people | {"admin": rook}).items():
        assert browsers[who].login(email=user.email, password=PASSWORD)
    return Studio(browsers, ada.team.id, cy.team.id, things(ada))


def things(ada: Person) -> dict[str, str]:
    made, _ = endpoints.create(team=ada.team, **WISH)
    key, _ = keys.create(team=ada.team, name="server")
    fields = {"kind": "project", "period": "day", "limit": "1.00"}
    opened, closed = (
        budgets.create(team=ada.team, data=fields | {"subject": name}, created_by=ada.user)
        for name in ("film", "still")
    )
    budgets.close(budget=closed)
    charged = clip_of(ada, reported=5)
    charged_id = ids.private("run", charged)
    Uncosted.objects.create(run_id=charged_id, why="no row", at=timezone.now())
    Fate.objects.create(run_id=charged_id, adapter="luma", job_key=charged, at=timezone.now())
    return {
        "team": "",
        "studio": ada.team.public_id,
        "endpoint": made.public_id,
        "delivery": tried(ada).public_id,
        "key": key.public_id,
        "budget": opened.public_id,
        "closed": closed.public_id,
        "charged": charged,
        "uncosted": charged,
        "doubtful": charged,
        "wish": ids.public("prop", wished().id),
        "strange": ids.public("diff", billed().id),
        "disputed": clip_of(ada, reported=10, height=180),
        "waiting": ids.public("run", admit(ada)),
    }


def wished() -> PriceProposal:
    """A price that the rehearsal lab proposes."""
    return propose(
        release=Release.objects.get(model__slug="still"),
        kind="price",
        lines=[{"unit": "image", "unit_price": "0.003"}],
        effective_from=timezone.now() + timedelta(days=30),
    )


def billed() -> Difference:
    """Two pictures on its bill that nobody asked for."""
    day = str(timezone.now().date())
    line = {"job": "j1", "unit": "image", "quantity": "2", "unit_price": "0.0012"}
    said = {"reference": "INV-7", "from": day, "to": "2999-01-01", "lines": [line]}
    bring(lab=Lab.objects.get(slug="rehearsal"), bill=read(said))
    return Difference.objects.earliest("id")


def clip_of(person: Person, **witnessed: Any) -> str:
    run_id = admit(person, "rehearsal/clip", seconds=5)
    settle(*worker.claim(), delivered(5, **witnessed))
    return ids.public("run", run_id)


def books() -> dict[str, dict[Any, dict[str, Any]]]:
    """Every row of every table; sessions are the browsers' own."""
    tables = [model for model in apps.get_models() if model is not Session]
    return {
        model._meta.db_table: {row[model._meta.pk.attname]: row for row in rows(model)}
        for model in tables
    }


def rows(model: Any) -> list[dict[str, Any]]:
    return list(model._base_manager.values())


@contextmanager
def undone() -> Iterator[None]:
    """Leave nothing of what is written in the block."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def expected(name: str, who: str) -> str:
    """does, refused, unknown (like what never was), door, or own: it happens to one's own team."""
    post = POSTS[name]
    if who in post.may:
        return "does"
    if who == "stranger":
        return "door"
    if post.may == ADMINS:
        return "unknown"
    if who == "outsider":
        return "unknown" if post.of and post.of != "team" else "own"
    return "refused"


def does(before: Any, after: Any, answer: Any, studio: Studio, *, quiet: bool) -> None:
    assert answer.status_code in (200, 302)
    assert (after == before) is quiet


def own(before: Any, after: Any, answer: Any, studio: Studio, **_: Any) -> None:
    assert answer.status_code in (200, 302)
    assert of(studio.team_id, after) == of(studio.team_id, before)


def of(team_id: UUID, found: dict[str, dict[Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """A team and its rows."""
    all_rows = [(key, row) for table in found.values() for key, row in table.items()]
    return [row for key, row in all_rows if team_id in (key, row.get("team_id"))]


def refused(before: Any, after: Any, answer: Any, studio: Studio, **_: Any) -> None:
    assert answer.status_code == 403
    assert "may" in answer.content.decode()
    assert after == before


def unknown(before: Any, after: Any, answer: Any, studio: Studio, **_: Any) -> None:
    assert answer.status_code == 404
    assert after == before


def door(before: Any, after: Any, answer: Any, studio: Studio, **_: Any) -> None:
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(reverse("account_login"))
    assert after == before


OUTCOMES: dict[str, Callable[..., None]] = {
    check.__name__: check for check in (does, own, refused, unknown, door)
}


@pytest.mark.parametrize("name", POSTS)
def test_a_post_does_what_the_persons_role_allows(studio: Studio, name: str) -> None:
    for who in WHO:
        with undone():
            before = books()
            answer = studio.browsers[who].post(studio.address(name), POSTS[name].data)
            check = OUTCOMES[expected(name, who)]
            check(before, books(), answer, studio, quiet=POSTS[name].quiet)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(POSTS)))
def test_an_address_that_is_not_in_the_table_takes_no_post(studio: Studio, name: str) -> None:
    [route] = [p for p in urlpatterns if isinstance(p, URLPattern) and p.name == name]
    count = len(route.pattern.converters)
    address = reverse(name, args=STILL[:count] if count == 2 else ["x"] * count)
    before = books()
    said = {studio.browsers[who].post(address).status_code for who in ("owner", "admin")}
    assert 405 in said <= {403, 404, 405}
    assert books() == before


def test_the_table_names_only_addresses_that_are(studio: Studio) -> None:
    assert set(POSTS) <= set(NAMES)


def test_a_developer_makes_and_ends_no_key_that_manages(studio: Studio, ada: Person) -> None:
    browser, before = studio.browsers["developer"], books()
    manages = browser.post(reverse("keys"), {"name": "x", "manages": "on"})
    ended = browser.post(reverse("key_revoke", args=[ada.key.public_id]))
    assert (manages.status_code, ended.status_code) == (403, 403)
    assert books() == before
    shown = browser.get(reverse("keys")).content.decode()
    assert f"revoke-{studio.things['key']}" in shown
    assert f"revoke-{ada.key.public_id}" not in shown


def test_who_only_reads_is_shown_no_button_that_would_be_refused(studio: Studio) -> None:
    things, browser = studio.things, studio.browsers["viewer"]
    playground = reverse("model", args=STILL)
    pages = [
        reverse("keys"), reverse("webhooks"), reverse("budgets"),
        playground, reverse("budget", args=[things["budget"]]),
        *(reverse("run", args=[things[run]]) for run in ("waiting", "charged")),
        reverse("webhook", args=[things["endpoint"]]),
        reverse("delivery", args=[things["delivery"]]),
    ]  # fmt: skip
    for page in pages:
        answer = browser.get(page)
        assert answer.status_code == 200
        shown = answer.content.decode().partition("<main")[2]
        assert shown.count('method="post"') == (page == playground)  # which is priced as one types
        assert "<dialog" not in shown
