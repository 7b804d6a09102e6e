"""Secrets are written, turned and ended; no answer, page, log or error ever tells one."""

import io
import json
import secrets
import sys
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from marketplace.catalog import lab_keys
from marketplace.catalog.models import Lab
from marketplace.errors import InvalidInput, NotFound, Unavailable
from marketplace.runs.connections import rows
from marketplace.vault import lock, masters
from marketplace.vault.envelope import MasterKey, NoKey
from marketplace.vault.models import LabSecret
from marketplace.vault.opening import GOOD_SQL, Purse, opened, turn

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timedelta(0)


@pytest.fixture(autouse=True)
def master(monkeypatch: pytest.MonkeyPatch) -> str:
    text = secrets.token_urlsafe(32)
    monkeypatch.setenv(masters.SECRET, text)
    return text


@pytest.fixture
def kling(db: None) -> tuple[Lab, dict[str, str]]:
    """The lab, and the headers of its owner's key."""
    lab = Lab.objects.create(slug="kling", name="Kling")
    _, text = lab_keys.create(lab=lab, name="ops", role="owner")
    return lab, {"Authorization": f"Bearer {text}"}


def put(text: str, overlap: timedelta = lock.OVERLAP, lab: str = "kling") -> LabSecret:
    return lock.lock(lab=lab, field="api_key", secret=text, by="tests", overlap=overlap)


def purse() -> Purse:
    return opened(rows((GOOD_SQL, [])))


def test_two_versions_are_good_while_a_lab_turns_its_key() -> None:
    put("first")
    put("second")
    assert purse().of("kling") == ("second", "first")
    put("third")
    assert purse().of("kling") == ("third", "second")
    put("fourth", NOW)
    assert purse().of("kling") == ("fourth",)
    lock.end(lab="kling", field="api_key", version=4)
    assert purse().of("kling") == ()
    with pytest.raises(NotFound):
        lock.end(lab="kling", field="api_key", version=4)


def test_the_master_key_is_turned_with_no_moment_in_which_a_secret_is_shut(
    master: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("first")
    new = secrets.token_urlsafe(32)
    monkeypatch.setenv(masters.SECRET, f"{new} {master}")
    assert purse().of("kling") == ("first",)
    assert (turn(), turn()) == (1, 0)
    monkeypatch.setenv(masters.SECRET, new)
    assert purse().of("kling") == ("first",)


def test_a_turn_that_cannot_open_one_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    put("first")
    before = list(LabSecret.objects.values_list("wrapped", flat=True))
    monkeypatch.setenv(masters.SECRET, secrets.token_urlsafe(32))
    with pytest.raises(NoKey):
        turn()
    after = list(LabSecret.objects.values_list("wrapped", flat=True))
    assert [bytes(each) for each in after] == [bytes(each) for each in before]


def test_one_that_cannot_be_opened_is_named_and_shuts_no_other() -> None:
    put("good", lab="luma")
    moved = put("planted", lab="kling")
    LabSecret.objects.filter(pk=moved.pk).update(lab="bfl")
    found = purse()
    assert found.of("luma") == ("good",)
    assert found.of("bfl") == ()
    assert found.wrong == {"bfl": "bfl api_key 1 is not what was locked under that name."}
    assert "good" not in repr(found)


def test_who_only_locks_needs_the_public_half_alone(
    master: str, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SECRETS = None
    monkeypatch.delenv(masters.SECRET)
    with pytest.raises(Unavailable, match=masters.PUBLIC):
        put("first")
    assert not LabSecret.objects.exists()
    monkeypatch.setenv(masters.PUBLIC, MasterKey(master).public.text())
    put("first")
    monkeypatch.setenv(masters.SECRET, master)
    assert purse().of("kling") == ("first",)


@pytest.mark.parametrize("text", ["", " planted", "planted\n", "plan\x00ted", "p" * 5000, None, 7])
def test_what_is_no_secret_is_refused_without_being_told(text: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        lock.lock(lab="kling", field="api_key", secret=text, by="tests")
    assert "planted" not in caught.value.message
    assert caught.value.param == "secret"
    assert not LabSecret.objects.exists()


def test_the_api_takes_a_secret_and_never_tells_it(
    kling: tuple[Lab, dict[str, str]], client: Client
) -> None:
    _, headers = kling
    body = {"field": "api_key", "secret": "planted:text", "overlap_seconds": 60}
    address = "/api/v1/lab/secrets"
    made = client.post(address, json.dumps(body), "application/json", headers=headers)
    assert made.status_code == 201
    assert (made.json()["version"], made.json()["ends_at"]) == (1, None)
    listed = client.get(address, headers=headers)
    assert [each["version"] for each in listed.json()] == [1]
    wrong = client.post(
        address, json.dumps(body | {"secret": "planted "}), "application/json", headers=headers
    )
    assert wrong.status_code == 422
    ended = client.delete(f"{address}/api_key/1", headers=headers)
    assert ended.status_code == 204
    for answer in (made, listed, wrong, ended):
        assert b"planted" not in answer.content
    assert client.get(address, headers=headers).json() == []


def test_a_key_of_a_lab_reaches_its_own_secrets_only_and_a_viewer_none(
    kling: tuple[Lab, dict[str, str]], client: Client
) -> None:
    put("luma's", lab="luma")
    lab, headers = kling
    address = "/api/v1/lab/secrets"
    assert client.get(address, headers=headers).json() == []
    assert client.delete(f"{address}/api_key/1", headers=headers).status_code == 404
    _, text = lab_keys.create(lab=lab, name="eyes", role="viewer")
    viewer = {"Authorization": f"Bearer {text}"}
    body = json.dumps({"field": "api_key", "secret": "x"})
    assert client.post(address, body, "application/json", headers=viewer).status_code == 403
    assert client.get(address, headers=viewer).status_code == 403
    assert LabSecret.objects.get().lab == "luma"


def test_the_command_reads_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("planted:text\n"))
    call_command("lab_secret", "put", "kling", "api_key")
    for act in ("list", "public", "turn"):
        call_command("lab_secret", act)
    assert "planted" not in capsys.readouterr().out
    assert purse().of("kling") == ("planted:text",)
    with pytest.raises(CommandError, match="no lab"):
        call_command("lab_secret", "put", "nobody", "api_key")


def test_one_that_has_ended_is_not_good() -> None:
    put("first")
    LabSecret.objects.update(ends_at=timezone.now())
    assert purse().of("kling") == ()
