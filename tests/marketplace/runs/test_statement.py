"""A statement recomputes to the nano, in pages, over the API and as a download."""

import json
import re
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client as Browser

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.metering.models import Price
from marketplace.runs.statement import statement
from tests.conftest import PASSWORD, Person
from tests.marketplace.runs.statements import (
    END,
    QUERY,
    SCRIPT,
    TODAY,
    Line,
    checked,
    of,
    run,
    verify,
)
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_script_imports_nothing_but_the_standard_library() -> None:
    imported = re.findall(r"^(?:from|import) (\w+)", SCRIPT.read_text(), re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names
    assert verify(b"", "--help")[1].startswith("Verify a Kinora statement")


def test_a_statement_recomputes(told: list[Line], ada: Person) -> None:
    runs = of(told, "run")
    assert [line["kind"] for line in told] == [
        "kinora.statement", "price", "run", "price", "run", "run", "run", "run", "total",
    ]  # fmt: skip
    assert [line["hold_state"] for line in runs] == [
        "captured", "captured", "captured", "voided", "in_review",
    ]  # fmt: skip
    assert runs[0]["captured_nano"] == 8_000_000
    assert all(line["captured_nano"] > 0 for line in runs[:3])
    assert told[0]["team"] == ada.team.public_id
    assert told[-1]["captured_nano"] == sum(line["captured_nano"] for line in runs)
    assert checked(told) == (0, "Every nano adds up.\n")
    published = set(Price.objects.filter(release__model__slug="still").values_list("digest"))
    assert {(line["sha256"],) for line in of(told, "price")} <= published
    assert told[-1]["refunded_nano"] == 1_234_568 + runs[1]["captured_nano"]


def test_another_teams_runs_are_absent(told: list[Line], ada: Person, cy: Person) -> None:
    others = of(list(statement(cy.team.id, TODAY, END)), "run")
    assert len(others) == 1
    assert others[0]["run"] not in {line.get("run") for line in told}


def test_an_empty_period_is_a_header_and_a_zero(told: list[Line], ada: Person) -> None:
    for start in (END, TODAY - timedelta(days=1)):
        lines = list(statement(ada.team.id, start, start + timedelta(days=1)))
        assert [line["kind"] for line in lines] == ["kinora.statement", "total"]
        assert (lines[1]["runs"], lines[1]["captured_nano"]) == (0, 0)
        assert checked(lines)[0] == 0


def test_pages_change_nothing(told: list[Line], ada: Person, monkeypatch: Any) -> None:
    monkeypatch.setattr("marketplace.runs.statement.PAGE", 1)
    assert list(statement(ada.team.id, TODAY, END)) == told


# ── what is planted has to be found ───────────────────────────────────────────────────────────


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────


def test_the_api_streams_what_verifies(web: Client, ada: Person, still: Release) -> None:
    run(ada, 4)
    answer = web.get(f"/api/v1/usage/statement?{QUERY}", key=ada.text)
    named = web.call(
        "GET",
        f"/api/v1/usage/statement?{QUERY}",
        key=ada.text,
        headers={"Accept": "application/x-ndjson"},
    )

    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert named.body == answer.body
    assert json.loads(answer.body.splitlines()[-1])["captured_nano"] == 8_000_000
    assert verify(answer.body) == (0, "Every nano adds up.\n")


def test_a_wrong_period_is_named(web: Client, ada: Person) -> None:
    for query, param in [
        ("", "from"), ("from=2026-11-01", "to"), ("from=x&to=2026-11-02", "from"),
        ("from=2026-11-01&to=2026-11-01", "to"), ("from=2026-11-02&to=2026-11-01", "to"),
        ("from=2025-01-01&to=2026-11-01", "from"), ("from=2026-11-01&to=2026-13-01", "to"),
    ]:  # fmt: skip
        answer = web.get(f"/api/v1/usage/statement?{query}", key=ada.text)
        assert (answer.status, answer.error["param"]) == (422, param), query
    assert web.get(f"/api/v1/usage/statement?{QUERY}").status == 401
    for far in ("from=0001-01-01&to=0001-01-02", "from=9999-12-30&to=9999-12-31"):
        assert web.get(f"/api/v1/usage/statement?{far}", key=ada.text).status == 200


def test_a_person_downloads_it_from_the_balance(web: Client, ada: Person, still: Release) -> None:
    run(ada, 4)
    browser = Browser()
    assert browser.login(email=ada.user.email, password=PASSWORD)
    page = browser.get("/balance").content.decode()
    link = re.search(r'href="(/balance/statement\?[^"]+)"', page)
    assert link
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
    path = link[1].replace("&amp;", "&")
    answer = web.call("GET", path, headers={"Cookie": cookie})

    assert answer.headers["content-disposition"].startswith('attachment; filename="kinora-')
    assert verify(answer.body) == (0, "Every nano adds up.\n")
    assert web.call("GET", "/balance/statement", headers={"Cookie": cookie}).status == 400
    assert ids.public("team", ada.team.id) in answer.body.decode()
