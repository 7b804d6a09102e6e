"""OpenAI's client manages endpoints here, and verifies what they are sent."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from marketplace.catalog.models import Release
from marketplace.runs.deliverer import Deliverer
from marketplace.webhooks.models import Endpoint
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.supply import admit, ended, supplying
from tests.marketplace.web import Client
from tests.receiver import Receiver, answering

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://example.com/hook"
TYPES: Any = ["video.completed", "video.failed"]


def client(web: Client, person: Person) -> OpenAI:
    return OpenAI(api_key=person.text, base_url=f"http://127.0.0.1:{web.port}/v1", max_retries=0)


def test_an_endpoint_lives_from_create_to_delete(ada: Person, web: Client) -> None:
    hooks = client(web, ada).webhooks
    made = hooks.create(url=URL, name="Shop", event_types=TYPES)
    assert made.signing_secret.startswith("whsec_")
    assert (made.url, made.name, made.event_types) == (URL, "Shop", TYPES)
    kept = hooks.retrieve(made.id)
    assert kept.signing_secret_hint == f"whsec_…{made.signing_secret[-4:]}"
    assert not hasattr(kept, "signing_secret")
    assert hooks.update(made.id, name="Till").name == "Till"
    other = hooks.create(url=URL, name="Other", event_types=["video.failed"])
    page = hooks.list(limit=1)
    assert [one.id for one in page.data] == [made.id]
    assert [one.id for one in hooks.list(limit=1)] == [made.id, other.id]
    assert hooks.rotate_secret(made.id).signing_secret != made.signing_secret
    assert "video.completed" in hooks.event_types.list().data
    assert hooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        hooks.retrieve(made.id)
    assert Endpoint.objects.count() == 1


def test_a_wrong_wish_names_the_field_and_makes_nothing(ada: Person, web: Client) -> None:
    hooks = client(web, ada).webhooks
    for wish, param in (
        ({"url": "http://example.com/"}, "url"),
        ({"url": ""}, "url"),
        ({"event_types": ["batch.completed"]}, "event_types"),
        ({"name": "x" * 81}, "name"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            hooks.create(**({"url": URL, "name": "Shop", "event_types": TYPES} | wish))
        assert refused.value.param == param
    assert not Endpoint.objects.exists()


def test_another_teams_and_a_reading_key_change_nothing(
    ada: Person, ben: Person, cy: Person, web: Client
) -> None:
    made = client(web, ada).webhooks.create(url=URL, name="Shop", event_types=TYPES)
    before = list(Endpoint.objects.values())
    for person, fault in ((cy, openai.NotFoundError), (ben, openai.PermissionDeniedError)):
        hooks = client(web, person).webhooks
        with pytest.raises(fault):
            hooks.update(made.id, name="Mine")
        with pytest.raises(fault):
            hooks.rotate_secret(made.id)
        with pytest.raises(fault):
            hooks.delete(made.id)
    assert client(web, ben).webhooks.retrieve(made.id).name == "Shop"
    assert list(Endpoint.objects.values()) == before


def test_a_test_tells_what_was_answered(
    ada: Person,
    web: Client,
    receiver: Receiver,
    deliverer: Deliverer,
) -> None:
    receiver.manners["/down"] = answering(503)
    hooks = client(web, ada).webhooks
    for path, status in (("/up", 200), ("/down", 503)):
        made = hooks.create(url=receiver.url(path), name="Shop", event_types=TYPES)
        result = hooks.test(made.id, event_type="video.completed")
        assert (result.status_code, result.webhook_endpoint_id) == (status, made.id)
    [got] = receiver.at("/up")
    assert got.json["type"] == "video.completed"
    shut = hooks.create(url="http://127.0.0.1:1/", name="Shut", event_types=TYPES)
    with pytest.raises(openai.ConflictError, match="refused"):
        hooks.test(shut.id, event_type="video.completed")


def test_a_finished_video_is_told_and_verified(
    ada: Person,
    clip: Release,
    lab: Lab,
    web: Client,
    receiver: Receiver,
    deliverer: Deliverer,
) -> None:
    speaker = client(web, ada)
    made = speaker.webhooks.create(url=receiver.url(), name="Shop", event_types=TYPES)
    with supplying():
        run = ended(admit(ada, "rehearsal/clip", latency_ms=0))
    [got] = receiver.wait(1)

    verifier = OpenAI(api_key="k", webhook_secret=made.signing_secret)
    verifier.webhooks.verify_signature(got.body.decode(), got.headers)
    assert run.state == "succeeded"
    told = json.loads(got.body)
    assert (told["object"], told["type"]) == ("event", "video.completed")
    assert told["data"]["id"] == run.public_id
    assert told["id"] == got.id
