"""Whose work a run is: told by headers and `user`, kept, shown, and searched by."""

import json
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from marketplace.catalog.models import Release
from marketplace.ledger.models import Hold
from marketplace.runs.models import Run
from tests.conftest import PASSWORD, Person
from tests.marketplace import worker
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)

BODY: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}


def run(web: Client, key: str, once: str = "", **named: Any) -> Answer:
    """named: project, end_user of the headers, user of the body."""
    headers = {"X-Kinora-Project": "project", "X-Kinora-End-User": "end_user"}
    sent = {header: named[name] for header, name in headers.items() if name in named}
    body = BODY | ({"user": named["user"]} if "user" in named else {})
    sent |= {"Idempotency-Key": once} if once else {}
    return web.call("POST", "/api/v1/runs", body, key=key, headers=sent)


def test_a_run_says_whose_it_is_everywhere(web: Client, ada: Person, still: Release) -> None:
    made = run(web, ada.text, project="studio/spring", end_user="u-7@example.test")
    assert (made.json["project"], made.json["end_user"]) == ("studio/spring", "u-7@example.test")
    worker.succeed(*worker.claim())

    links = made.json["links"]
    for path in (links["self"], links["receipt"]):
        shown = web.get(path, key=ada.text).json
        assert (shown["project"], shown["end_user"]) == ("studio/spring", "u-7@example.test")
    text = web.get("/api/v1/usage/statement?from=2026-01-01&to=2026-12-31", key=ada.text).body
    [line] = [said for said in map(json.loads, text.splitlines()) if said["kind"] == "run"]
    assert (line["project"], line["end_user"]) == ("studio/spring", "u-7@example.test")


def test_the_body_names_the_end_user_too(web: Client, ada: Person, still: Release) -> None:
    assert run(web, ada.text, user="u-1").json["end_user"] == "u-1"
    assert run(web, ada.text, user="u-1", end_user="u-1").json["end_user"] == "u-1"
    plain = run(web, ada.text).json
    assert (plain["project"], plain["end_user"]) == (None, None)
    two = run(web, ada.text, user="u-1", end_user="u-2")
    assert (two.status, two.error["param"]) == (422, "user")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an empty project": ({"project": ""}, "X-Kinora-Project"),
    "a long project": ({"project": "p" * 65}, "X-Kinora-Project"),
    "a project with a space": ({"project": "a b"}, "X-Kinora-Project"),
    "a project that is everything": ({"project": "*"}, "X-Kinora-Project"),
    "a project in Greek": ({"project": "é"}, "X-Kinora-Project"),
    "an empty end user": ({"end_user": ""}, "X-Kinora-End-User"),
    "a long end user": ({"end_user": "u" * 129}, "X-Kinora-End-User"),
    "an end user who is everybody": ({"end_user": "*"}, "X-Kinora-End-User"),
    "an empty user": ({"user": ""}, "user"),
    "a user with a line break": ({"user": "a\nb"}, "user"),
    "a user in Greek": ({"user": "Ω"}, "user"),
    "a number as user": ({"user": 7}, "user"),
    "a list as user": ({"user": ["a"]}, "user"),
}


def test_a_bad_name_is_refused_with_its_field_and_moves_nothing(
    web: Client, ada: Person, still: Release
) -> None:
    for name, (named, param) in BAD.items():
        answer = run(web, ada.text, **named)
        assert (answer.status, answer.error["code"]) == (422, "invalid_input"), name
        assert answer.error["param"] == param, name
        assert answer.error["message"].startswith(f"{param} must be 1 to "), name
    assert not Run.objects.exists()
    assert not Hold.objects.exists()


def test_a_key_is_not_replayed_for_another_end_user(
    web: Client, ada: Person, still: Release
) -> None:
    first = run(web, ada.text, once="a", end_user="u-1")
    again = run(web, ada.text, once="a", user="u-1")
    other = run(web, ada.text, once="a", end_user="u-2")
    assert (first.status, again.status) == (201, 200)
    assert again.json["id"] == first.json["id"]
    assert (other.status, other.error["code"]) == (422, "idempotency_conflict")
    assert Run.objects.count() == 1


def test_lists_narrow_to_a_project_or_an_end_user(web: Client, ada: Person, still: Release) -> None:
    for project, end_user in (("a", "u-1"), ("a", "u-2"), ("b", "u-1")):
        run(web, ada.text, project=project, end_user=end_user)

    def found(query: str) -> list[tuple[str, str]]:
        runs = web.get(f"/api/v1/runs?{query}", key=ada.text).json["data"]
        return [(run["project"], run["end_user"]) for run in runs]

    assert found("project=a") == [("a", "u-2"), ("a", "u-1")]
    assert found("end_user=u-1") == [("b", "u-1"), ("a", "u-1")]
    assert found("project=a&end_user=u-1&state=queued") == [("a", "u-1")]
    assert found("project=a&state=failed") == []
    wrong = web.get("/api/v1/runs?project=a%20b", key=ada.text)
    assert (wrong.status, wrong.error["param"]) == (422, "project")

    page = Browser()
    assert page.login(email=ada.user.email, password=PASSWORD)
    assert page.get(reverse("runs"), {"project": "a"}).content.count(b'<tr class="link">') == 2
    assert page.get(reverse("runs"), {"end_user": "\0"}).content.count(b'<tr class="link">') == 3
