"""Webhooks asked for in another service's words arrive in them, and its receivers accept them."""

import pytest
from replicate.webhook import Webhooks, WebhookSigningSecret

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.runs.deliverer import Deliverer
from marketplace.runs.models import Run
from marketplace.webhooks import secrets
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.supply import ended, supplying
from tests.marketplace.web import Client
from tests.marketplace.webhooks.test_sign import documented
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
QUICK = {"prompt": "dusk", "size": "64x64", "latency_ms": 0}


def test_fals_webhook_is_told_and_verified(
    ada: Person, still: Release, lab: Lab, web: Client, receiver: Receiver, deliverer: Deliverer
) -> None:
    path = f"/fal/queue/rehearsal/still?fal_webhook={receiver.url()}"
    headers = {"Authorization": f"Key {ada.text}"}
    with supplying():
        asked = web.call("POST", path, QUICK, headers=headers)
        assert asked.status == 200, asked.body
        [got] = receiver.wait(1)
    run = ended(ids.private("run", asked.json["request_id"]) or ids.uuid7())

    keys = web.get("/fal/rest/.well-known/jwks.json").json
    assert keys == web.get("/.well-known/jwks.json").json
    assert documented()["from_kinora_as_fal"](got.body, got.headers, keys)
    assert got.headers["x-fal-webhook-request-id"] == got.json["request_id"] == run.public_id
    assert (got.json["status"], got.json["error"]) == ("OK", None)
    assert got.json["payload"]["images"][0]["url"].startswith("http")
    again = Run.objects.count()
    wrong = web.call("POST", path.replace("http:", "ftp:"), QUICK, headers=headers)
    assert (wrong.status, Run.objects.count()) == (422, again)


def test_replicates_webhook_is_told_in_order_and_verified(
    ada: Person, still: Release, lab: Lab, web: Client, receiver: Receiver, deliverer: Deliverer
) -> None:
    wish = {
        "input": QUICK,
        "webhook": receiver.url(),
        "webhook_events_filter": ["start", "output", "completed"],
    }
    with supplying():
        asked = web.call(
            "POST", "/replicate/v1/models/rehearsal/still/predictions", wish, key=ada.text
        )
        assert asked.status == 201, asked.body
        told = receiver.wait(3)

    assert [one.json["status"] for one in told] == ["processing", "processing", "succeeded"]
    assert [bool(one.json["output"]) for one in told] == [False, True, True]
    assert {one.json["id"] for one in told} == {asked.json["id"]}
    secret = WebhookSigningSecret(key=secrets.team_secret(ada.team.id, 1))
    for one in told:
        Webhooks.validate(headers=one.headers, body=one.body.decode(), secret=secret)
