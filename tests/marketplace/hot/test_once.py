"""Answers by idempotency key: made once, kept sealed for a day, given to who asked for them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import F

from marketplace.accounts import keys
from marketplace.accounts.models import Answer as Kept
from marketplace.accounts.models import ApiKey
from marketplace.webhooks.models import Endpoint
from tests.conftest import Person
from tests.marketplace.web import Answer, Client

KEYS, HOOKS = "/api/v1/keys", "/v1/webhook_endpoints"  # Django's, and the hot path's
WISHES: dict[str, dict[str, Any]] = {
    KEYS: {"name": "one"},
    HOOKS: {"name": "a", "url": "https://example.com/b", "event_types": ["video.completed"]},
}
MADE = {KEYS: ApiKey, HOOKS: Endpoint}
both = pytest.mark.parametrize("path", WISHES)


def ask(web: Client, person: Person, path: str, once: str = "a", **more: Any) -> Answer:
    headers = {"Idempotency-Key": once}
    return web.call("POST", path, WISHES[path] | more, key=person.text, headers=headers)


def count(path: str) -> int:
    return MADE[path].objects.count()


@both
def test_eight_at_once_make_one_and_hear_the_same(web: Client, ada: Person, path: str) -> None:
    before = count(path)
    with ThreadPoolExecutor(8) as hands:
        answers = list(hands.map(lambda _: ask(web, ada, path), range(8)))
    assert count(path) == before + 1
    assert {(answer.status, answer.body) for answer in answers} == {
        (answers[0].status, answers[0].body)
    }
    assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [
        False,
        *[True] * 7,
    ]


@both
def test_a_refusal_is_not_kept(web: Client, ada: Person, path: str) -> None:
    before = count(path)
    assert ask(web, ada, path, name=7).status >= 400
    assert not Kept.objects.exists()
    assert ask(web, ada, path).status < 300
    assert count(path) == before + 1


@both
def test_another_caller_has_answers_of_its_own(
    web: Client, ada: Person, cy: Person, path: str
) -> None:
    assert ask(web, ada, path).body != ask(web, cy, path).body


def test_the_same_key_elsewhere_is_another_request(web: Client, ada: Person) -> None:
    assert ask(web, ada, KEYS).status == 201
    refused = ask(web, ada, HOOKS)
    assert (refused.status, b"Idempotency-Key" in refused.body) == (400, True)
    assert count(HOOKS) == 0


@both
def test_a_revoked_key_hears_nothing(web: Client, ada: Person, path: str) -> None:
    ask(web, ada, path)
    other, text = keys.create(team=ada.team, name="other")
    keys.revoke(key=ada.key)
    keys.revoke(key=other)
    headers = {"Idempotency-Key": "a"}
    assert web.call("POST", path, WISHES[path], key=text, headers=headers).status == 401


@both
def test_a_claim_whose_process_died_is_free_after_a_minute(
    web: Client, ada: Person, path: str
) -> None:
    ask(web, ada, path)
    before = count(path)
    dead = Kept.objects.all()
    dead.update(sealed=None, asked=None, claim=uuid4())
    assert ask(web, ada, path).status == 409
    assert count(path) == before
    dead.update(made_at=F("made_at") - timedelta(minutes=2))
    assert ask(web, ada, path).status < 300
    assert count(path) == before + 1


@both
def test_after_a_day_it_is_forgotten(web: Client, ada: Person, path: str) -> None:
    first = ask(web, ada, path)
    ask(web, ada, path, once="b")
    Kept.objects.update(made_at=F("made_at") - timedelta(days=2))
    assert ask(web, ada, path).body != first.body
    assert Kept.objects.count() == 1


def test_what_is_kept_cannot_be_read_without_the_key_that_asked(web: Client, ada: Person) -> None:
    secret = ask(web, ada, KEYS, once="a-long-and-secret-name").json["key"]
    [kept] = Kept.objects.all()
    for column in (kept.sealed, kept.name, kept.asked):
        assert secret.encode() not in bytes(column or b"")
        assert b"secret-name" not in bytes(column or b"")


@pytest.mark.parametrize("once", ["", "two words", "ä", "x" * 256])
@both
def test_a_key_must_be_one_word(web: Client, ada: Person, path: str, once: str) -> None:
    refused = ask(web, ada, path, once=once)
    assert refused.status in (400, 422)
    assert b"Idempotency-Key" in refused.body
