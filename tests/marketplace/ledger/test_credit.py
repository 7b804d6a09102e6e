"""Credits with a scope and a funder: who spends which first, and that none is lost or made."""

from datetime import timedelta
from io import StringIO
from itertools import pairwise
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace import ids
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.errors import IdempotencyConflict, InvalidInput, NotFound
from marketplace.ledger.balance import balance
from marketplace.ledger.capture import Share, captured, close
from marketplace.ledger.check import check
from marketplace.ledger.hold import Answer, Want, hold
from marketplace.ledger.models import Account, Entry, HoldPart
from marketplace.ledger.transfer import expire_credits, grant_credit, void_credit
from tests.conftest import PASSWORD, Person

STILL, CLIP, GLYPH = "rehearsal/still", "rehearsal/clip", "kinora/glyph"
SCOPES = [(), ("rehearsal",), (STILL,), (CLIP, "kinora"), (GLYPH, STILL)]

pytestmark = pytest.mark.django_db


def give(team: Team, name: str, amount: int, **options: object) -> int:
    given = {"reference": f"{team.id}:{name}", "expires_at": None} | options
    return grant_credit(team=team, amount=amount, name=name, **given)  # type: ignore[arg-type]


def want(team: Team, amount: int, model: str | None) -> tuple[UUID, Answer]:
    run = ids.uuid7()
    [answer] = hold(wants=[Want(run, team.id, amount, amount, 1, model=model)])
    return run, answer


def stands_on(run: UUID) -> list[tuple[str, int]]:
    parts = HoldPart.objects.filter(hold=run).order_by("position")
    return list(parts.values_list("account__name", "amount"))


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="Ada")


def test_a_run_spends_what_fits_it_most_closely_first(team: Team) -> None:
    give(team, "any", 10, priority=1)
    give(team, "lab", 10, scope=["rehearsal"])
    give(team, "model", 10, scope=[STILL], funder="rehearsal")
    give(team, "other", 10, scope=[CLIP])
    run, answer = want(team, 25, STILL)
    assert answer.code == "ok"
    assert stands_on(run) == [("model", 10), ("lab", 10), ("any", 5)]
    assert [c.name for c in balance(team.id, model=STILL).credits] == ["model", "lab", "any"]
    assert check() == []


def test_equals_go_by_priority_then_expiry_then_age(team: Team) -> None:
    now = timezone.now()
    give(team, "old", 1)
    give(team, "new", 1)
    give(team, "late", 1, expires_at=now + timedelta(days=9))
    give(team, "soon", 1, expires_at=now + timedelta(days=1))
    give(team, "first", 1, priority=1)
    run, _ = want(team, 5, STILL)
    assert [name for name, _ in stands_on(run)] == ["first", "soon", "late", "old", "new"]


@pytest.mark.parametrize("model", [None, GLYPH, "rehearsal/still-2", "rehearsal-2/still", ""])
def test_a_credit_for_a_model_is_nobody_elses(team: Team, model: str | None) -> None:
    give(team, "any", 4)
    give(team, "model", 10, scope=[STILL])
    _, answer = want(team, 5, model)
    assert (answer.code, answer.available) == ("insufficient_balance", 4)
    assert balance(team.id).held == 0
    assert balance(team.id).available == 14
    assert balance(team.id, model=model or "x").available == 4


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    credits=st.lists(
        st.tuples(
            st.integers(1, 50), st.sampled_from(SCOPES), st.integers(1, 3), st.integers(0, 3)
        ),
        min_size=1,
        max_size=7,
    ),
    wants=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([STILL, CLIP, GLYPH])), max_size=6
    ),
)
def test_what_is_shown_is_the_order_in_which_holds_are_made(
    credits: list[tuple[int, tuple[str, ...], int, int]], wants: list[tuple[int, str]]
) -> None:
    team = Team.objects.create(name="Ada")
    start = timezone.now()
    for number, (amount, scope, priority, days) in enumerate(credits):
        at = start + timedelta(days=days) if days else None
        give(team, f"C{number}", amount, scope=scope, priority=priority, expires_at=at)
    for amount, model in wants:
        shown = [c for c in balance(team.id, model=model).credits if c.available > 0]
        run, answer = want(team, amount, model)
        fits = sum(c.available for c in shown) >= amount
        assert (answer.code == "ok") == fits
        parts = stands_on(run)
        assert [name for name, _ in parts] == [c.name for c in shown][: len(parts)]
        free = {c.name: c.available for c in shown}
        assert all(taken == free[name] for (name, taken), _ in pairwise(parts))
    assert check() == []


def test_a_batch_of_several_models_is_held_in_its_order(team: Team) -> None:
    give(team, "any", 5)
    give(team, "still", 5, scope=[STILL])
    runs = [ids.uuid7() for _ in range(4)]
    wants = [
        Want(run, team.id, 4, 4, 1, model=model)
        for run, model in zip(runs, [CLIP, STILL, STILL, CLIP], strict=True)
    ]
    codes = {answer.run_id: answer.code for answer in hold(wants=wants)}
    assert [codes[run] for run in runs] == [
        "ok",
        "ok",
        "insufficient_balance",
        "insufficient_balance",
    ]
    assert stands_on(runs[0]) == [("any", 4)]
    assert stands_on(runs[1]) == [("still", 4)]


def test_granted_is_burned_expired_voided_and_remaining(team: Team) -> None:
    """A credit's whole life; each nano-unit of the grant is somewhere."""
    account = give(team, "lab", 100, scope=["rehearsal"], funder="rehearsal")
    run, _ = want(team, 40, STILL)
    close(closings={run: captured(30, [Share("revenue:x", 30)])})
    later, _ = want(team, 20, STILL)
    assert void_credit(reference=f"{team.id}:lab").amount == 50
    assert void_credit(reference=f"{team.id}:lab").amount == 0
    assert want(team, 1, STILL)[1].code == "insufficient_balance"
    assert balance(team.id).held == 20
    close(closings={later: captured(5, [Share("revenue:x", 5)])})
    assert expire_credits() == 1
    assert expire_credits() == 0
    moved = Entry.objects.filter(account=account).order_by("id")
    assert list(moved.values_list("transfer__kind", "amount")) == [
        ("grant", 100), ("charge", -30), ("void", -50), ("charge", -5), ("void", -15),
    ]  # fmt: skip
    back = Entry.objects.filter(account__name="promo_funding:rehearsal")
    assert sorted(back.values_list("amount", flat=True)) == [-100, 15, 50]
    assert check() == []


def test_a_reference_grants_once(team: Team) -> None:
    account = give(team, "C", 7)
    assert give(team, "C", 7) == account
    assert balance(team.id).available == 7
    for other in ({"amount": 8}, {"scope": [STILL]}, {"funder": "rehearsal"}):
        with pytest.raises(IdempotencyConflict):
            give(team, "C", **({"amount": 7} | other))
    with pytest.raises(IdempotencyConflict):
        give(Team.objects.create(name="Cy"), "D", 7, reference=f"{team.id}:C")
    assert list(Account.objects.filter(kind="promo").values_list("posted", flat=True)) == [7]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("amount", {"amount": 0}),
        ("name", {"name": ""}),
        ("reference", {"reference": "r" * 121}),
        ("scope", {"scope": ["a/b/c"]}),
        ("scope", {"scope": ["lab/"]}),
        ("funder", {"funder": "a/b"}),
        ("priority", {"priority": -1}),
    ],
)
def test_what_no_credit_can_be_is_refused(
    team: Team, field: str, options: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        grant_credit(
            **{"team": team, "amount": 1, "name": "C", "reference": "r"}
            | {"expires_at": None}
            | options
        )  # type: ignore[arg-type]
    assert refusal.value.param == field
    assert Account.objects.count() == 0


def test_a_credit_that_nobody_granted_cannot_be_taken_back() -> None:
    with pytest.raises(NotFound):
        void_credit(reference="r")


def command(*words: str) -> str:
    said = StringIO()
    call_command("grant_credit", *words, stdout=said)
    return said.getvalue().strip()


def test_the_command_grants_and_takes_back(team: Team, still: Release) -> None:
    words = [
        team.public_id,
        "2.5",
        "--reference",
        "launch",
        "--scope",
        STILL,
        "--scope",
        "rehearsal",
    ]
    for _ in range(2):
        said = command(*words, "--funder", "rehearsal", "--expires", "30d", "--name", "Launch")
        assert said == f"launch  $2.50 USD granted to {team.public_id}"
    [credit] = balance(team.id).credits
    assert (credit.available, credit.scope) == (2_500_000_000, ("rehearsal", STILL))
    assert (credit.name, credit.funder) == ("Launch", "rehearsal")
    assert command("--reference", "launch", "--void") == "launch  $2.50 USD taken back"
    assert balance(team.id).available == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["team_x", "1"], "There is no team team_x."),
        (["{team}"], "Say which team and how much"),
        (["{team}", "0"], "more than 0"),
        (["{team}", "1e-10"], "9 decimal places"),
        (["{team}", "1", "--scope", "rehearsel/still"], "no lab or model rehearsel/still"),
        (["{team}", "1", "--funder", "acme"], "kinora or a lab, not acme"),
        (["{team}", "1", "--expires", "soon"], "soon is not a day"),
        (["{team}", "1", "--expires", "2020-01-01"], "in the past"),
        (["{team}", "1", "--expires", "0d"], "in the past"),
        (["--void"], "No credit was granted under the reference r."),
    ],
)
def test_the_command_says_what_is_wrong(
    team: Team, still: Release, words: list[str], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        command(*[w.format(team=team.public_id) for w in words], "--reference", "r")
    assert Account.objects.filter(team=team).count() == 0


def test_the_balance_page_says_what_is_spent_first_and_on_what(ada: Person) -> None:
    give(ada.team, "Launch", 9, scope=[STILL], funder="rehearsal")
    browser = Client()
    assert browser.login(email=ada.user.email, password=PASSWORD)
    text = browser.get(reverse("balance")).content.decode()
    first, second = text.index("Launch"), text.index("Test credit")
    assert text.index("Spent first") < first < text.index("Only for") < second
    assert "from rehearsal" in text
    assert "from Kinora" in text


def test_the_balance_is_told_for_a_model(ada: Person) -> None:
    give(ada.team, "Launch", 9, scope=[STILL], funder="rehearsal")
    asked = {"headers": ada.bearer}
    found = Client().get("/api/v1/balance", {"model": STILL}, **asked).json()
    assert [c["name"] for c in found["credits"]] == ["Launch", "Test credit"]
    assert (found["credits"][0]["scope"], found["credits"][0]["funder"]) == ([STILL], "rehearsal")
    found = Client().get("/api/v1/balance", {"model": GLYPH}, **asked).json()
    assert [c["name"] for c in found["credits"]] == ["Test credit"]
    assert found["available"]["nano"] == 5_000_000_000
