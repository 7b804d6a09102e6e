"""Budgets over the API: who may, what is refused by which field, and what is undone."""

from typing import Any

import pytest

from marketplace import ids
from marketplace.access.models import Budget
from marketplace.accounts import keys
from marketplace.catalog.models import Release
from tests.conftest import Person
from tests.marketplace.access.test_budgets import admit, item
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/budgets"
GOOD: dict[str, Any] = {"kind": "team", "limit": "25.00"}


def make(web: Client, person: Person, **fields: Any) -> Answer:
    return web.call("POST", PATH, fields, key=person.text)


def test_an_owner_makes_changes_closes_and_reopens_one(
    web: Client, ada: Person, ben: Person, still: Release
) -> None:
    made = make(
        web, ada, kind="end_user", subject="*", period="day", limit="1.5", hard=False,
        models=["rehearsal/still"], max_per_run="0.01", concurrency=2,
    )  # fmt: skip
    assert made.status == 201, made.body
    found = made.json
    assert (found["kind"], found["subject"], found["period"]) == ("end_user", "*", "day")
    assert (found["limit"]["nano"], found["max_per_run"]["nano"]) == (1_500_000_000, 10_000_000)
    assert (found["hard"], found["models"], found["concurrency"]) == (False, ["rehearsal/still"], 2)
    one = f"{PATH}/{found['id']}"

    changed = web.call("PATCH", one, {"limit": "2", "concurrency": None}, key=ada.text)
    assert (changed.json["limit"]["amount"], changed.json["concurrency"]) == ("2.00", None)
    assert changed.json["max_per_run"]["nano"] == 10_000_000

    admit(item(ada, end_user="u-1"), item(ada, end_user="u-2"))
    used = web.get(one, key=ben.text).json["spendings"]
    assert sorted((s["subject"], s["held"]["nano"], s["left"]["nano"]) for s in used) == [
        ("u-1", 2_000_000, 1_998_000_000), ("u-2", 2_000_000, 1_998_000_000),
    ]  # fmt: skip

    closed = web.call("DELETE", one, key=ada.text)
    assert (closed.status, closed.json["closed_at"] is None) == (200, False)
    assert web.call("DELETE", one, key=ada.text).json["closed_at"] == closed.json["closed_at"]
    assert web.call("PATCH", one, {"limit": "3"}, key=ada.text).status == 409
    opened = web.call("POST", f"{one}/reopen", key=ada.text)
    assert (opened.status, opened.json["closed_at"]) == (200, None)
    [listed] = web.get(PATH, key=ben.text).json["data"]
    assert (listed["id"], len(listed["spendings"])) == (found["id"], 2)


def test_who_is_no_owner_or_has_no_managing_key_changes_nothing(
    web: Client, ada: Person, ben: Person, cy: Person
) -> None:
    made = make(web, ada, **GOOD).json["id"]
    _, plain = keys.create(team=ada.team, name="server", created_by=ada.user)
    _, viewers = keys.create(team=ada.team, name="b", created_by=ben.user, scopes=keys.SCOPES)
    one = f"{PATH}/{made}"
    calls = [("POST", PATH, GOOD), ("PATCH", one, {"limit": "99"}),
             ("DELETE", one, None), ("POST", f"{one}/reopen", {})]  # fmt: skip
    for key in (plain, viewers, ben.text):
        for method, path, body in calls:
            answer = web.call(method, path, body, key=key)
            assert (answer.status, answer.error["code"]) == (403, "not_allowed")
    for method, path, body in calls[1:]:
        assert web.call(method, path, body, key=cy.text).status == 404
    assert web.get(f"{PATH}/{made}", key=cy.text).status == 404
    assert web.get(PATH, key=cy.text).json == {"data": []}
    [budget] = Budget.objects.all()
    assert (budget.amount, budget.closed_at) == (25_000_000_000, None)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "kind"),
    "a kind that is none": (GOOD | {"kind": "planet"}, "kind"),
    "a number as kind": (GOOD | {"kind": 7}, "kind"),
    "a period that is none": (GOOD | {"period": "fortnight"}, "period"),
    "no period": (GOOD | {"period": None}, "period"),
    "a subject of the team": (GOOD | {"subject": "a"}, "subject"),
    "a member who is none": (GOOD | {"kind": "member", "subject": "cy@example.test"}, "subject"),
    "a member with NUL": (GOOD | {"kind": "member", "subject": 7}, "subject"),
    "no member": (GOOD | {"kind": "member"}, "subject"),
    "a key that is none": (
        GOOD | {"kind": "key", "subject": ids.public("key", ids.uuid7())}, "subject",
    ),
    "a key that is no key": (GOOD | {"kind": "key", "subject": "x"}, "subject"),
    "a project in words": (GOOD | {"kind": "project", "subject": "a b"}, "subject"),
    "no project": (GOOD | {"kind": "project"}, "subject"),
    "an end user who is too long": (GOOD | {"kind": "end_user", "subject": "u" * 129}, "subject"),
    "no limit of any kind": ({"kind": "team"}, "limit"),
    "a limit of nothing": (GOOD | {"limit": "0"}, "limit"),
    "a negative limit": (GOOD | {"limit": "-1"}, "limit"),
    "a limit in words": (GOOD | {"limit": "much"}, "limit"),
    "a limit as a float": (GOOD | {"limit": 0.5}, "limit"),
    "a limit that is true": (GOOD | {"limit": True}, "limit"),
    "an endless limit": (GOOD | {"limit": "Infinity"}, "limit"),
    "ten places": (GOOD | {"limit": "0.0000000001"}, "limit"),
    "more than there is": (GOOD | {"limit": "9" * 30}, "limit"),
    "an exponent": (GOOD | {"limit": "1e3"}, "limit"),
    "nothing for one run": (GOOD | {"max_per_run": "0"}, "max_per_run"),
    "nobody at once": (GOOD | {"concurrency": 0}, "concurrency"),
    "fewer than nobody": (GOOD | {"concurrency": -1}, "concurrency"),
    "a crowd": (GOOD | {"concurrency": 10**12}, "concurrency"),
    "half a run": (GOOD | {"concurrency": 1.5}, "concurrency"),
    "a concurrency that is true": (GOOD | {"concurrency": True}, "concurrency"),
    "hard in words": (GOOD | {"hard": "yes"}, "hard"),
    "a model that is none": (GOOD | {"models": ["rehearsal/none"]}, "models"),
    "a lab that is none": (GOOD | {"models": ["nobody"]}, "models"),
    "models as a text": (GOOD | {"models": "rehearsal"}, "models"),
    "too many models": (GOOD | {"models": ["rehearsal"] * 101}, "models"),
    "a field that is none": (GOOD | {"colour": "red"}, "colour"),
}  # fmt: skip


def test_bad_input_names_its_field_and_makes_nothing(
    web: Client, ada: Person, cy: Person, still: Release
) -> None:
    for name, (fields, param) in BAD.items():
        answer = make(web, ada, **fields)
        assert (answer.status, answer.error["code"]) == (422, "invalid_input"), name
        assert answer.error["param"] == param, name
        assert answer.error["message"].endswith("."), name
    assert not Budget.objects.exists()
    made = make(web, ada, **GOOD).json["id"]
    for name, (fields, param) in BAD.items():
        if param in {"limit", "max_per_run", "concurrency", "hard", "models"} and "limit" in fields:
            only = {param: fields[param]}
            answer = web.call("PATCH", f"{PATH}/{made}", only, key=ada.text)
            assert (answer.status, answer.error["param"]) == (422, param), name
    fixed = web.call("PATCH", f"{PATH}/{made}", {"period": "day"}, key=ada.text)
    assert (fixed.status, fixed.error["param"]) == (422, "period")
    assert Budget.objects.get().amount == 25_000_000_000


def test_two_open_budgets_for_the_same_are_refused(web: Client, ada: Person) -> None:
    first = make(web, ada, **GOOD)
    assert make(web, ada, **GOOD).status == 409
    assert make(web, ada, **(GOOD | {"period": "day"})).status == 201
    web.call("DELETE", f"{PATH}/{first.json['id']}", key=ada.text)
    assert make(web, ada, **GOOD).status == 201
    again = web.call("POST", f"{PATH}/{first.json['id']}/reopen", key=ada.text)
    assert (again.status, again.error["code"]) == (409, "conflict")
