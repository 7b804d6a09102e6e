"""The log of a lab: what is in it, and that whatever is done to it is found and named."""

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from marketplace.access import evidence, grant, window
from marketplace.access.models import DeniedCalls, Evidence, Window
from marketplace.errors import NotFound, NotYetOpen
from marketplace.metering.sale import load_offers, named
from marketplace.runs.submit import submit_now
from tests.conftest import Person
from tests.marketplace.access import launches
from tests.marketplace.access.launches import Cell

VERIFIER = Path(__file__).resolve().parents[3] / "docs" / "verify_window.py"
HOUR = timedelta(hours=1)
Report = dict[str, Any]


@pytest.fixture
def log(db: None, ada: Person) -> Report:
    """Six decisions of Lumen's."""
    release = launches.release("qzreel", published="now() + interval '2 days'")
    begins, ends = (timezone.now() + hours * HOUR for hours in (1, 2))
    early = window.make(release=release, kind="early_access", begins=begins, ends=ends)
    grant.allow(window=early, teams=[ada.team])
    window.change(window=early, data={"ends": ends + HOUR, "quota": 5})
    grant.revoke(window=early, team=ada.team)
    window.withdraw(window=early)
    return evidence.report(launches.lumen())


def verified(tmp_path: Path, report: Report, *more: str) -> tuple[int, list[str]]:
    """What the stand-alone script says, by an interpreter that knows nothing of ours."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report))
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(file), *more],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def kinds(report: Report) -> list[str]:
    return [json.loads(row["body"])["kind"] for row in report["rows"]]


def test_every_decision_is_in_the_log_and_the_log_verifies(log: Report, tmp_path: Path) -> None:
    assert kinds(log) == [
        "release_scheduled", "window_made", "grant_made", "window_changed", "grant_revoked",
        "window_withdrawn",
    ]  # fmt: skip
    status, told = verified(tmp_path, log, "--key", evidence.public_key())
    assert (status, told[0].split(",")[0]) == (0, "6 rows of lumen hold")


def change_a_row(log: Report) -> None:
    log["rows"][2]["body"] = log["rows"][2]["body"].replace("allow_list", "waitlist")


def change_a_row_and_its_digest(log: Report) -> None:
    """As somebody would who can reckon."""
    import hashlib

    change_a_row(log)
    row, before = log["rows"][2], log["rows"][1]["digest"]
    row["digest"] = hashlib.sha256(f"{before}\n{row['body']}".encode()).hexdigest()


def remove_a_row(log: Report) -> None:
    del log["rows"][3]


def remove_two_rows(log: Report) -> None:
    del log["rows"][1:3]


def leave_off_the_end(log: Report) -> None:
    del log["rows"][-1]


def put_one_in(log: Report) -> None:
    log["rows"].insert(3, deepcopy(log["rows"][2]))


def leave_off_the_end_and_say_so(log: Report) -> None:
    del log["rows"][-1]
    log |= {"count": 5, "head": log["rows"][-1]["digest"]}


@pytest.mark.parametrize(
    ("tamper", "named_faults"),
    [
        (change_a_row, ["row 3 was changed, or what stands before it"]),
        (change_a_row_and_its_digest, ["row 4 was changed, or what stands before it"]),
        (remove_a_row, ["row 4 is missing", "row 5 was changed, or what stands before it"]),
        (remove_two_rows, ["row 2 to 3 is missing", "row 4 was changed, or what stands before it"]),
        (put_one_in, ["row 3 was put in", "row 3 was changed, or what stands before it"]),
        (leave_off_the_end, ["the log ends at row 5, but was signed with 6"]),
        (leave_off_the_end_and_say_so, ["the signature is wrong"]),
    ],
)
def test_what_is_done_to_a_row_is_found_and_named(
    log: Report, tmp_path: Path, tamper: Callable[[Report], None], named_faults: list[str]
) -> None:
    tamper(log)
    assert verified(tmp_path, log) == (1, named_faults)


def test_a_log_that_was_written_anew_differs_from_the_one_that_was_kept(
    log: Report, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(log))
    again = deepcopy(log)
    change_a_row_and_its_digest(again)
    status, told = verified(tmp_path, again, "--earlier", str(kept))
    assert status == 1
    assert "row 3 is not what it was in the earlier report" in told
    assert verified(tmp_path, log, "--key", "00" * 32) == (
        1, ["the report is signed with another key than yours"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE access_evidence SET body = '{}' WHERE number = 2",
        "DELETE FROM access_evidence WHERE number = 2",
        "TRUNCATE access_evidence",
    ],
)
def test_the_database_refuses_to_change_the_log(log: Report, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with events is not truncated
        with pytest.raises(IntegrityError), transaction.atomic():
            cursor.execute(sql)
    assert Evidence.objects.count() == 6


@pytest.mark.django_db(transaction=True)
def test_what_the_clock_brought_about_is_noted_once(ada: Person, cy: Person) -> None:
    """Opened, called first, closed, gone live: at their own instants, whenever it is written."""
    cells = [Cell("early_access", "inside"), Cell("embargo", "after")]
    launches.all_made(cy.team, cells)
    inside, over = (Window.objects.get(release__model__slug=cell.secret) for cell in cells)
    offer = load_offers(cy.team.id)[cells[0].model]
    submit_now(offer=offer, inputs={"prompt": "dusk"}, team_id=cy.team.id)
    found = [json.loads(row["body"]) for row in evidence.report(launches.lumen())["rows"]]
    told = {
        (row["kind"], row["facts"].get("window")): row["at"]
        for row in found
        if row["kind"] != "release_scheduled"
    }
    assert set(told) == {
        ("window_opened", inside.pk), ("window_opened", over.pk), ("window_over", over.pk),
        ("first_call", inside.pk), ("release_published", None),
    }  # fmt: skip
    assert told["window_over", over.pk] == f"{over.span.upper:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert evidence.catch_up_all() == 0


@pytest.mark.django_db(transaction=True)
def test_denied_calls_are_counted_by_the_hour(ada: Person) -> None:
    cells = [Cell("early_access", "inside"), Cell("embargo", "inside")]
    launches.all_made(None, cells)
    for _ in range(3):
        with pytest.raises(NotFound):
            named(load_offers(), cells[1].model)
    with pytest.raises(NotYetOpen):
        submit_now(offer=load_offers()[cells[0].model], inputs={"prompt": "a"}, team_id=ada.team.id)
    load_offers()  # which writes down what was counted
    counted = dict(DeniedCalls.objects.values_list("decision", "calls"))
    assert counted == {"hidden": 3, "shown": 1}
    DeniedCalls.objects.update(hour=timezone.now() - 2 * HOUR)
    rows = [json.loads(row["body"]) for row in evidence.report(launches.lumen())["rows"]]
    denied = [row["facts"] for row in rows if row["kind"] == "calls_denied"]
    assert sorted((row["decision"], row["calls"]) for row in denied) == [
        ("hidden", 3),
        ("shown", 1),
    ]
