"""A lab's keys: shown once, by role, ended at once; the lab's own address."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from marketplace.catalog import lab_keys
from marketplace.catalog.models import LabKey, Release
from tests.marketplace.web import Client

LAB = "/api/v1/lab"


@pytest.fixture
def owner(still: Release) -> str:
    """The text of a key of the lab `rehearsal` that may do all."""
    return lab_keys.create(lab=still.model.lab, name="first", role="owner")[1]


def test_a_lab_is_told_who_it_is_and_what_its_key_may_do(web: Client, owner: str) -> None:
    told = web.get(LAB, key=owner)
    assert told.status == 200
    assert told.json == {
        "lab": "rehearsal",
        "name": "Rehearsal",
        "role": "owner",
        "rights": ["read", "money", "price", "launch", "keys"],
        "models": ["rehearsal/still"],
    }


def test_a_key_is_shown_once_and_works_until_it_is_revoked(web: Client, owner: str) -> None:
    made = web.call("POST", f"{LAB}/keys", {"name": " books ", "role": "finance"}, key=owner)
    assert (made.status, made.json["name"], made.json["role"]) == (201, "books", "finance")
    text = made.json["key"]
    assert text.startswith(made.json["prefix"])
    assert web.get(LAB, key=text).json["rights"] == ["read", "money", "price"]
    listed = web.get(f"{LAB}/keys", key=owner).json["data"]
    assert [key["name"] for key in listed] == ["books", "first"]
    assert all("key" not in key for key in listed)
    for _ in range(2):
        ended = web.call("DELETE", f"{LAB}/keys/{made.json['id']}", key=owner)
        assert (ended.status, ended.json["revoked_at"] is None) == (200, False)
    assert web.get(LAB, key=text).status == 401


@pytest.mark.parametrize("role", ["finance", "launch", "viewer"])
def test_only_an_owner_manages_keys(web: Client, still: Release, owner: str, role: str) -> None:
    key, text = lab_keys.create(lab=still.model.lab, name="x", role=role)
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", "/keys", None),
        ("POST", "/keys", {"name": "y", "role": "viewer"}),
        ("DELETE", f"/keys/{key.public_id}", None),
    )
    for method, path, body in calls:
        answer = web.call(method, LAB + path, body, key=text)
        assert (answer.status, answer.error["right"]) == (403, "keys")
    assert web.get(LAB, key=text).json["role"] == role
    assert LabKey.objects.filter(revoked_at=None).count() == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "name"), ({"name": "x"}, "role"), ({"name": "", "role": "owner"}, "name"),
    ({"name": 5, "role": "owner"}, "name"), ({"name": "x" * 81, "role": "owner"}, "name"),
    ({"name": "x", "role": "root"}, "role"), ({"name": "x", "role": ["owner"]}, "role"),
    ({"name": "x", "role": "owner", "lab": "other"}, "lab"),
]  # fmt: skip


def test_a_wrong_wish_for_a_key_is_named(web: Client, owner: str) -> None:
    for wish, param in WRONG:
        answer = web.call("POST", f"{LAB}/keys", wish, key=owner)
        assert (answer.status, answer.error["param"]) == (422, param), wish
    assert LabKey.objects.count() == 1


def test_the_first_key_is_made_on_the_server(
    still: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("lab_key", "rehearsal", role="finance")
    text = capsys.readouterr().out.strip()
    held = lab_keys.found(f"Bearer {text}")
    assert held is not None
    assert (held.lab.slug, held.role) == ("rehearsal", "finance")
    for wrong in (("nobody",), ("rehearsal", "--role", "root")):
        with pytest.raises(CommandError):
            call_command("lab_key", *wrong)
