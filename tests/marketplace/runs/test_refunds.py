"""A team asks for its money back: evidence decides at once, else a person in time, never twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pytest_django import Settings

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.errors import Conflict, InvalidInput, NotFound
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Entry
from marketplace.ledger.refund import refund
from marketplace.media import store
from marketplace.runs import refunds
from marketplace.runs.models import Decision, Output, RefundRequest, Run
from marketplace.runs.receipt import receipt
from marketplace.runs.refunds import ask, grant, left, overdue, refuse, working_days
from tests.conftest import Person
from tests.journeys.books import SHORT, delivered, settle
from tests.lab import Lab
from tests.marketplace import worker
from tests.marketplace.supply import SMALL, admit, closed, ended, supplying
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)

FUNDS = 5_000_000_000
PICTURE = 2_000_000


@pytest.fixture
def made(ada: Person, still: Release, lab: Lab) -> Callable[..., Run]:
    """A run of stills that succeeded and was charged."""

    def make(**inputs: Any) -> Run:
        with supplying():
            return ended(admit(ada, **SMALL | inputs))

    return make


def wanted(person: Person, run: Run, reason: str, note: str = "") -> RefundRequest:
    """A request, after the files were looked at where that is due."""
    request, _ = ask(run=run.id, team_id=person.team.id, reason=reason, note=note)
    refunds.look(request.id)
    request.refresh_from_db()
    return request


def spoil(output: Output, content: bytes | None) -> None:
    """Put other bytes where an output is, or take it away."""
    with store.local(output.path) as file:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)


@pytest.mark.parametrize("content", [None, b"not a picture"], ids=["lost", "altered"])
def test_a_file_that_is_of_no_use_any_more_is_paid_back_at_once(
    ada: Person, made: Callable[..., Run], content: bytes | None
) -> None:
    run = made(count=3)
    spoil(run.outputs.get(position=1), content)
    found = wanted(ada, run, "undecodable")
    assert (found.state, found.decided_by, found.amount) == ("granted", "system", PICTURE)
    assert [o["file"] != "fine" for o in found.evidence["outputs"]] == [False, True, False]
    assert balance(ada.team.id).available == FUNDS - 2 * PICTURE
    assert closed(run.id) == ("captured", 3 * PICTURE)


def test_a_file_that_cannot_be_decoded_is_paid_back_at_once(
    ada: Person, made: Callable[..., Run]
) -> None:
    run = made()
    output, junk = run.outputs.get(), b"\x89PNG then nothing"
    spoil(output, junk)
    with store.local(output.path) as file:
        Output.objects.update(sha256=bytes.fromhex(store.digest(file)))
    found = wanted(ada, run, "undecodable")
    assert found.evidence == {"outputs": [{"output": 0, "file": "undecodable"}]}
    assert (found.state, found.amount) == ("granted", PICTURE)
    assert left(run.id) == 0


def test_a_sound_file_waits_for_a_person(ada: Person, made: Callable[..., Run]) -> None:
    run = made()
    found = wanted(ada, run, "undecodable")
    assert (found.state, found.decided_by, found.amount) == ("open", "", 0)
    assert found.evidence == {"outputs": [{"output": 0, "file": "fine"}]}
    assert balance(ada.team.id).available == FUNDS - PICTURE


def test_what_expired_as_announced_is_no_fault(ada: Person, made: Callable[..., Run]) -> None:
    run = made()
    spoil(run.outputs.get(), None)
    Output.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert wanted(ada, run, "undecodable").state == "open"


def test_a_clip_of_another_length_is_paid_back_whole(ada: Person, clip: Release, lab: Lab) -> None:
    with supplying():
        run = ended(admit(ada, "rehearsal/clip", **SHORT, seconds=4, behaviour="partial"))
    assert closed(run.id) == ("captured", 20_000_000)
    found = wanted(ada, run, "wrong_length")
    assert (found.state, found.amount) == ("granted", 20_000_000)
    [told] = found.evidence["outputs"]
    assert (told["asked"], told["measured"]) == ("4", "2.000000")
    assert balance(ada.team.id).available == FUNDS


def test_a_clip_of_the_right_length_waits_for_a_person(
    ada: Person, clip: Release, lab: Lab
) -> None:
    with supplying():
        run = ended(admit(ada, "rehearsal/clip", **SHORT, seconds=2))
    assert wanted(ada, run, "wrong_length").state == "open"


def test_of_two_runs_with_the_same_bytes_the_second_is_paid_back(
    ada: Person, made: Callable[..., Run]
) -> None:
    first, second = made(seed=7), made(seed=7)
    assert wanted(ada, first, "duplicate").state == "open"  # it has no twin before it
    found = wanted(ada, second, "duplicate")
    assert (found.state, found.amount) == ("granted", PICTURE)
    assert found.evidence["same_bytes"] == [first.public_id]
    assert balance(ada.team.id).available == FUNDS - PICTURE


@pytest.mark.parametrize(
    ("others", "apart"),
    [({"seed": 8}, 0), ({"seed": 7}, 11)],
    ids=["another body", "eleven minutes later"],
)
def test_what_may_be_meant_waits_for_a_person(
    ada: Person, made: Callable[..., Run], others: dict[str, Any], apart: int
) -> None:
    first, second = made(seed=7), made(**others)
    Run.objects.filter(pk=first.pk).update(created_at=first.created_at - timedelta(minutes=apart))
    assert wanted(ada, second, "duplicate").state == "open"


def test_other_bytes_for_the_same_body_wait_for_a_person(
    ada: Person, made: Callable[..., Run]
) -> None:
    first, second = made(seed=7), made(seed=7)
    Output.objects.filter(run=first).update(sha256=b"\0" * 32)
    found = wanted(ada, second, "duplicate")
    assert (found.state, found.evidence["same_body"]) == ("open", 1)


def test_a_twin_that_was_paid_back_itself_is_no_reason(
    ada: Person, made: Callable[..., Run]
) -> None:
    first, second, third = (made(seed=7) for _ in range(3))
    assert wanted(ada, second, "duplicate").state == "granted"
    assert wanted(ada, third, "duplicate").evidence["same_bytes"] == [first.public_id]
    assert balance(ada.team.id).available == FUNDS - PICTURE


def test_while_one_is_open_asking_again_gives_that_one(
    ada: Person, made: Callable[..., Run]
) -> None:
    run = made()
    first = wanted(ada, run, "other", "too dark")
    again, new = ask(run=run.id, team_id=ada.team.id, reason="undecodable")
    assert (again.id, new) == (first.id, False)
    assert RefundRequest.objects.count() == 1


def test_asked_eight_times_at_once_it_is_paid_back_once(
    ada: Person, made: Callable[..., Run]
) -> None:
    run = made()
    spoil(run.outputs.get(), None)

    def once(_: int) -> str:
        try:
            return wanted(ada, run, "undecodable").state
        except Conflict:
            return "conflict"
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        states = list(threads.map(once, range(8)))
    assert set(states) <= {"granted", "conflict"}
    assert (RefundRequest.objects.count(), Decision.objects.count()) == (1, 1)
    assert balance(ada.team.id).available == FUNDS
    assert closed(run.id) == ("captured", PICTURE)


@pytest.mark.parametrize(
    ("reason", "note", "param"),
    [
        ("because", "", "reason"),
        (None, "", "reason"),
        ("other", " ", "note"),
        ("other", 7, "note"),
        ("other", "x" * 501, "note"),
    ],
)
def test_a_request_says_what_is_wrong(
    ada: Person, made: Callable[..., Run], reason: Any, note: Any, param: str
) -> None:
    run = made()
    with pytest.raises(InvalidInput) as refused:
        ask(run=run.id, team_id=ada.team.id, reason=reason, note=note)
    assert refused.value.param == param
    assert RefundRequest.objects.count() == 0


def test_what_cannot_be_paid_back_is_not_taken(
    ada: Person, cy: Person, clip: Release, made: Callable[..., Run]
) -> None:
    run = made()
    with pytest.raises(NotFound):
        wanted(cy, run, "duplicate")
    with pytest.raises(NotFound):
        ask(run=None, team_id=ada.team.id, reason="other", note="x")
    waiting = Run.objects.get(id=admit(ada, "rehearsal/clip"))
    with pytest.raises(Conflict, match="not ended"):
        wanted(ada, waiting, "other", "x")
    settle(*worker.claim(), delivered(5, reported=10_272))
    with pytest.raises(Conflict, match="looks at it already"):
        wanted(ada, waiting, "other", "x")
    refund(run=run.id, amount=None, reference="r", note="x")
    with pytest.raises(Conflict, match="Nothing is left"):
        wanted(ada, run, "undecodable")
    Run.objects.filter(pk=run.pk).update(finished_at=timezone.now() - timedelta(days=61))
    assert RefundRequest.objects.count() == 0


def test_a_run_is_complained_of_for_sixty_days_and_three_times(
    ada: Person, made: Callable[..., Run], rook: User
) -> None:
    run = made()
    for _ in range(3):
        found = wanted(ada, run, "other", "x")
        refuse(request=found.id, admin=rook, words="It is as you asked.", why="looked at it")
    with pytest.raises(Conflict, match="3 times"):
        wanted(ada, run, "other", "x")
    late = made()
    Run.objects.filter(pk=late.pk).update(finished_at=timezone.now() - timedelta(days=61))
    with pytest.raises(Conflict, match="60 days"):
        wanted(ada, late, "other", "x")


def test_an_admin_grants_a_part_and_the_team_reads_why(
    ada: Person, made: Callable[..., Run], rook: User
) -> None:
    run = made()
    found = wanted(ada, run, "other", "too dark")
    grant(request=found.id, amount=500_000, admin=rook, words="A quarter back.", why="it is dark")
    shown = receipt(run.id, ada.team.id)
    [asked] = shown["refund_requests"]
    assert (asked["state"], asked["amount"]["nano"], asked["answer"]) == (
        "granted", 500_000, "A quarter back.",
    )  # fmt: skip
    assert [back["note"] for back in shown["refunds"]] == ["A quarter back."]
    assert "it is dark" not in str(shown)
    decision = Decision.objects.get()
    assert (decision.user, decision.act, decision.amount) == (rook, "grant", 500_000)
    assert balance(ada.team.id).available == FUNDS - PICTURE + 500_000


def test_an_admin_grants_no_more_than_is_left_and_decides_once(
    ada: Person, made: Callable[..., Run], rook: User
) -> None:
    run = made()
    found = wanted(ada, run, "other", "x")
    with pytest.raises(Conflict, match="is left"):
        grant(request=found.id, amount=PICTURE + 1, admin=rook, words="", why="")
    with pytest.raises(InvalidInput, match="words"):
        refuse(request=found.id, admin=rook, words=" ", why="")
    assert Decision.objects.count() == 0
    refuse(request=found.id, admin=rook, words="It is as you asked.", why="")
    before = Entry.objects.count()
    for again in (grant, refuse):
        with pytest.raises(Conflict, match="refused already"):
            again(**{"request": found.id, "admin": rook, "words": "x", "why": ""}
                  | ({"amount": None} if again is grant else {}))  # fmt: skip
    assert Entry.objects.count() == before


def test_after_a_person_has_decided_evidence_alone_decides_no_more(
    ada: Person, made: Callable[..., Run], rook: User
) -> None:
    run = made()
    refuse(request=wanted(ada, run, "other", "x").id, admin=rook, words="No.", why="")
    spoil(run.outputs.get(), None)
    found = wanted(ada, run, "undecodable")
    assert (found.state, found.evidence["decided_before"]) == ("open", True)


def test_a_decision_is_never_edited(ada: Person, made: Callable[..., Run], rook: User) -> None:
    refuse(request=wanted(ada, made(), "other", "x").id, admin=rook, words="No.", why="")
    for change in (Decision.objects.update, Decision.objects.all().delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change(**({"why": "x"} if change == Decision.objects.update else {}))


def test_what_nobody_answers_in_time_is_granted_where_it_is_small(
    ada: Person, made: Callable[..., Run], settings: Settings
) -> None:
    small, large = made(), made(count=3)
    for run in (small, large):
        wanted(ada, run, "other", "x")
    settings.REFUND_SMALL_NANO = PICTURE
    assert overdue() == 0
    RefundRequest.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert overdue() == 2
    assert small.refund_requests.get().state == "granted"
    assert large.refund_requests.get().state == "open"
    assert balance(ada.team.id).available == FUNDS - 3 * PICTURE
    assert overdue() == 1  # until a person has answered


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-11-20", "2026-11-25"), ("2026-11-21", "2026-11-25"), ("2026-11-16", "2026-11-19")],
    ids=["Friday", "Saturday", "Monday"],
)
def test_a_deadline_counts_working_days(start: str, end: str) -> None:
    begun = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert f"{working_days(begun, 3):%Y-%m-%d}" == end


def test_a_refund_is_asked_for_over_the_api(
    web: Client, ada: Person, ben: Person, cy: Person, made: Callable[..., Run]
) -> None:
    run = made()
    path = f"/api/v1/runs/{run.public_id}/refunds"
    body = {"reason": "other", "note": "too dark"}
    assert web.call("POST", path, body, key=ben.text).status == 403  # a key that only reads
    assert web.call("POST", path, body, key=cy.text).status == 404
    assert web.call("POST", path, body).status == 401
    assert web.call("POST", path, body | {"amount": "9"}, key=ada.text).error["param"] == "amount"
    asked = web.call("POST", path, body, key=ada.text)
    again = web.call("POST", path, body, key=ada.text)
    assert (asked.status, again.status) == (201, 200)
    assert asked.json == again.json
    assert ids.private("rfr", asked.json["id"]) == RefundRequest.objects.get().id
    assert (asked.json["state"], asked.json["amount"]["nano"]) == ("open", 0)
    assert web.get(path, key=ben.text).json == {"data": [asked.json]}
    assert web.get(path, key=cy.text).status == 404
    told = web.get(f"/api/v1/runs/{run.public_id}/receipt", key=ada.text).json
    assert told["refund_requests"][0]["id"] == asked.json["id"]


def test_an_unknown_run_is_not_found_by_any_name(web: Client, ada: Person) -> None:
    for name in ("run_1", ids.public("run", ids.uuid7()), str(UUID(int=1))):
        answer = web.call("POST", f"/api/v1/runs/{name}/refunds", {"reason": "x"}, key=ada.text)
        assert answer.status == 404
