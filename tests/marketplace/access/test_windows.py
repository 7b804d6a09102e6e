"""The one decision at every moment, and what no code may do to windows."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from marketplace.access import grant, window
from marketplace.access.models import Grant, Window
from marketplace.accounts.models import Team, User
from marketplace.errors import Conflict, InvalidInput, NotAllowed, NotFound, NotYetOpen
from marketplace.ledger.models import Hold
from marketplace.metering.sale import load_offers
from marketplace.runs.models import Run
from marketplace.runs.submit import submit_now
from tests.conftest import Person, fund
from tests.marketplace.access import launches
from tests.marketplace.access.launches import CELLS, WHO, Cell

SOON = timedelta(days=1)
committed = pytest.mark.django_db(transaction=True)  # a price holds from its commit on


def decided(release_id: int, team: Team | None, user: User | None) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT decision FROM release_access(%s, %s, %s)",
            [release_id, team and team.pk, user and user.pk],
        )
        found: str = cursor.fetchone()[0]
        return found


@pytest.mark.django_db
def test_one_function_decides_every_cell_at_its_very_instant(
    ada: Person, cy: Person, rook: User
) -> None:
    """In one transaction now() stands still, so `at` and `end` are the very instants."""
    lab = Team.objects.create(name="Lumen's")
    cells = launches.all_made(cy.team)
    launches.lumen().teams.add(lab)
    asked = {"stranger": (ada.team, ada.user), "granted": (cy.team, cy.user), "lab": (lab, None)}
    wrong = [
        (cell, who, found)
        for cell, release in cells.items()
        for who in WHO
        for found in [decided(release.pk, *asked.get(who, (None, rook)))]
        if found != cell.decision(who)
    ]
    assert not wrong
    assert len(cells) * len(WHO) == len(CELLS) * 4 == 80


@pytest.mark.django_db
def test_nobody_is_a_stranger_too(db: None) -> None:
    cells = launches.all_made(None)
    found = {cell: decided(release.pk, None, None) for cell, release in cells.items()}
    assert found == {cell: cell.decision("stranger") for cell in CELLS}


@pytest.fixture
def staged(db: None) -> Any:
    """A release that goes live in two days."""
    return launches.release("qzreel", published="now() + interval '2 days'")


def test_two_windows_of_a_release_never_hold_at_once(staged: Any) -> None:
    now = timezone.now()
    window.make(release=staged, kind="embargo", ends=now + SOON)
    with pytest.raises(Conflict, match="Another window"):
        window.make(release=staged, kind="early_access", ends=now + SOON / 2)
    early = window.make(release=staged, kind="early_access", begins=now + SOON, ends=now + 2 * SOON)
    promise = window.make(release=staged, kind="exclusive", terms="Only here, for ever.")
    with pytest.raises(Conflict, match="Another window"):
        window.make(release=staged, kind="exclusive", begins=now + SOON)
    assert Window.objects.count() == 3
    assert (early.span.lower, promise.span.upper) == (now + SOON, None)


def test_the_past_is_not_rewritten(staged: Any) -> None:
    now = timezone.now()
    with launches.a_past_may_be_made_up():
        made = launches.window(staged, "embargo", (-1, 1))
    with pytest.raises(Conflict, match="begins now or later"):
        window.make(release=staged, kind="exclusive", begins=now - SOON)
    with pytest.raises(Conflict, match="keeps its beginning"):
        window.change(window=made, data={"begins": now + SOON / 100})
    with pytest.raises(Conflict, match="ends now or later"):
        window.change(window=made, data={"ends": now - timedelta(seconds=1)})
    assert window.change(window=made, data={"ends": now + 2 * SOON}).span.upper == now + 2 * SOON
    for change in ({"kind": "exclusive"}, {"release": launches.release("qzother")}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Window.objects.filter(pk=made.pk).update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        Window.objects.filter(pk=made.pk).delete()


def test_what_everybody_saw_cannot_be_made_a_secret(staged: Any) -> None:
    live, now = launches.release("qzlive"), timezone.now()
    with pytest.raises(Conflict, match="everybody has seen"):
        window.make(release=live, kind="embargo", ends=now + SOON)
    window.make(release=staged, kind="early_access", begins=now + SOON / 4, ends=now + SOON / 2)
    with pytest.raises(Conflict, match="everybody has seen"):
        window.make(release=staged, kind="embargo", begins=now + SOON / 2, ends=now + SOON)


@committed
def test_closing_ends_a_window_at_once_and_withdrawing_takes_back_what_never_began(
    staged: Any,
) -> None:
    now = timezone.now()
    made = window.make(release=staged, kind="early_access", ends=now + SOON)
    later = window.make(release=staged, kind="early_access", begins=now + SOON, ends=now + 2 * SOON)
    with pytest.raises(Conflict, match="has begun"):
        window.withdraw(window=made)
    with pytest.raises(Conflict, match="not open"):
        window.close(window=later)
    window.close(window=made)
    window.withdraw(window=later)
    assert decided(staged.pk, None, None) == "hidden"
    with pytest.raises(Conflict):
        window.close(window=made)
    with pytest.raises(Conflict):
        window.change(window=later, data={"terms": "x"})


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"kind": "secret"}, "kind"),
        ({"kind": "embargo"}, "ends"),
        ({"kind": "embargo", "begins": 1}, "ends"),
        ({"kind": "exclusive", "begins": "now"}, "begins"),
        ({"kind": "exclusive", "quota": 3}, "quota"),
        ({"kind": "exclusive", "audience": ["tier"]}, "audience"),
        ({"kind": "exclusive", "terms": "x" * 4001}, "terms"),
        ({"kind": "early_access", "audience": ["friends"]}, "audience"),
        ({"kind": "early_access", "audience": []}, "audience"),
        ({"kind": "early_access", "quota": 0}, "quota"),
        ({"kind": "early_access", "quota": True}, "quota"),
        ({"kind": "early_access", "begins": timezone.now() + SOON * 9}, "ends"),
    ],
)
def test_a_wrong_field_is_named(staged: Any, wish: dict[str, Any], param: str) -> None:
    if wish["kind"] == "early_access":
        wish = {"ends": timezone.now() + SOON} | wish
    with pytest.raises(InvalidInput) as refusal:
        window.make(release=staged, **wish)
    assert refusal.value.param == param
    assert not Window.objects.exists()


# ── calls ─────────────────────────────────────────────────────────────────────────────────────


def call(person: Person, model: str, *, seen_by: Person | None = None) -> Run:
    """A run; seen_by: whose view of the offers is used, as a stale or foreign one might be."""
    who = seen_by or person
    offer = load_offers(who.team.id, who.user.id)[model]
    return Run.objects.get(
        id=submit_now(
            offer=offer, inputs={"prompt": "dusk"}, team_id=person.team.id, user_id=person.user.id
        )
    )


@pytest.fixture
def early(db: None, cy: Person) -> Window:
    """Cy is in early access at $0.001 a picture; everybody follows in an hour at $0.002."""
    cell = Cell("early_access", "inside")
    launches.all_made(cy.team, [cell])
    return Window.objects.get()


EARLY = Cell("early_access", "inside").model


@committed
def test_a_window_has_its_own_price_for_whom_it_lets_in(
    early: Window, ada: Person, cy: Person
) -> None:
    run = call(cy, EARLY)
    assert (run.price.segment, Hold.objects.get().amount) == (early.segment, 1_000_000)
    stranger = load_offers(ada.team.id)[EARLY].for_team(ada.team.id)
    assert (stranger.gate, stranger.price.segment) == ("shown", "list")
    with pytest.raises(NotYetOpen, match="opens for everybody at"):
        call(ada, EARLY)


@committed
def test_anothers_view_of_the_offers_opens_nothing(early: Window, ada: Person, cy: Person) -> None:
    with pytest.raises(NotYetOpen):
        call(ada, EARLY, seen_by=cy)
    assert not Run.objects.exists()
    assert not Hold.objects.exists()


@committed
def test_a_grant_that_is_revoked_lets_in_no_more(early: Window, cy: Person) -> None:
    call(cy, EARLY)
    stale = load_offers(cy.team.id)[EARLY]
    grant.revoke(window=early, team=cy.team)
    with pytest.raises(NotYetOpen):
        submit_now(offer=stale, inputs={"prompt": "dusk"}, team_id=cy.team.id)
    assert Run.objects.count() == Hold.objects.count() == 1
    assert load_offers(cy.team.id)[EARLY].gate == "shown"


@committed
def test_the_price_of_a_window_ends_with_it(early: Window, cy: Person) -> None:
    inside = load_offers(cy.team.id)[EARLY]
    with launches.a_past_may_be_made_up(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE access_window SET span = tstzrange(lower(span), now());"
            "UPDATE catalog_release SET published_at = now()"
        )
    with pytest.raises(Conflict, match="just ended"):
        submit_now(offer=inside, inputs={"prompt": "dusk"}, team_id=cy.team.id)
    assert not Hold.objects.exists()
    assert call(cy, EARLY).price.segment == "list"


@committed
def test_a_quota_counts_the_runs_of_each_team(early: Window, ada: Person, cy: Person) -> None:
    Window.objects.filter(pk=early.pk).update(quota=2)
    grant.allow(window=early, teams=[ada.team])
    for _ in range(2):
        call(cy, EARLY)
    with pytest.raises(NotAllowed, match="all its runs"):
        call(cy, EARLY)
    call(ada, EARLY)
    used = dict(Grant.objects.values_list("team__name", "used"))
    assert used == {"Cy alone": 2, "Ada's studio": 1}
    assert Hold.objects.count() == 3


@committed
def test_a_run_that_money_refuses_takes_nothing_from_the_quota(early: Window) -> None:
    poor = Team.objects.create(name="Poor")
    Window.objects.filter(pk=early.pk).update(quota=1)
    grant.allow(window=early, teams=[poor])
    offer = load_offers(poor.id)[EARLY]
    with pytest.raises(Exception, match="is missing"):
        submit_now(offer=offer, inputs={"prompt": "dusk"}, team_id=poor.id)
    assert Grant.objects.get(team=poor).used == 0
    fund(poor, "1", reference="tests:poor")
    submit_now(offer=offer, inputs={"prompt": "dusk"}, team_id=poor.id)
    assert Grant.objects.get(team=poor).used == 1


# ── who is let in ─────────────────────────────────────────────────────────────────────────────


def test_a_line_is_served_in_its_order(early: Window) -> None:
    teams = [Team.objects.create(name=f"Team {n}") for n in range(4)]
    placed = [grant.join(window=early, team=team) for team in teams]
    assert [place.position for place in placed] == [1, 2, 3, 4]
    assert grant.join(window=early, team=teams[1]).position == 2
    assert [g.team.name for g in grant.invite(window=early, most=2)] == ["Team 0", "Team 1"]
    with pytest.raises(Conflict, match="not invited"):
        grant.accept(window=early, team=teams[2])
    assert grant.ahead(Grant.objects.get(team=teams[3])) == 1
    assert decided(early.release_id, teams[0], None) == "shown"
    assert grant.accept(window=early, team=teams[0]).state == "granted"
    assert decided(early.release_id, teams[0], None) == "open"
    assert [g.team.name for g in grant.invite(window=early, most=9)] == ["Team 2", "Team 3"]
    with pytest.raises(NotFound):
        grant.accept(window=early, team=Team.objects.create(name="Nobody"))


@committed
def test_spend_and_tier_let_in_whom_they_fit(early: Window, ada: Person, cy: Person) -> None:
    spent(ada, 120)
    spent(cy, 20)
    assert grant.by_tier(window=early, tier="pro") == 1  # Ada; Cy is in by name
    assert grant.by_spend(window=early, dollars=20, days=30) == 0  # type: ignore[arg-type]
    assert Grant.objects.get(team=ada.team).reason == "tier"
    with pytest.raises(InvalidInput):
        grant.by_tier(window=early, tier="gold")


def spent(person: Person, dollars: int) -> None:
    """A captured hold of so much."""
    launches.release(f"qzsold{dollars}")
    fund(person.team, str(dollars), reference=f"spent:{person.team.pk}")
    call(person, f"lumen/qzsold{dollars}")
    Hold.objects.filter(team=person.team).update(
        captured=dollars * 10**9, amount=dollars * 10**9, quoted=dollars * 10**9
    )


def test_only_early_access_is_granted_and_only_as_its_audience_says(
    staged: Any, ada: Person
) -> None:
    promise = window.make(release=staged, kind="exclusive")
    with pytest.raises(Conflict, match="not granted for this reason"):
        grant.allow(window=promise, teams=[ada.team])
    now = timezone.now()
    line = window.make(release=staged, kind="early_access", ends=now + SOON, audience=["waitlist"])
    with pytest.raises(Conflict, match="not granted for this reason"):
        grant.allow(window=line, teams=[ada.team])
    assert grant.join(window=line, team=ada.team).state == "waiting"
    assert grant.allow(window=line, teams=[ada.team])[0].state == "granted"
