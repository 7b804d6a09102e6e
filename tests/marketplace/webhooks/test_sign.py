"""What we sign is what the clients' own verifiers accept, and nothing else is."""

import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.utils import timezone
from openai import InvalidWebhookSignatureError, OpenAI
from pytest_django import Settings
from replicate.webhook import Webhooks, WebhookSigningSecret, WebhookValidationError

from marketplace import ids
from marketplace.runs.deliverer import Deliverer
from marketplace.webhooks import queue, secrets
from marketplace.webhooks.models import Endpoint, TeamSecret
from marketplace.webhooks.schemes import Event
from tests.conftest import Person
from tests.receiver import Received, Receiver
from tests.running import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


def sent(person: Person, receiver: Receiver, scheme: str = "standard", **more: Any) -> Received:
    """What the receiver gets."""
    event = Event(ids.public("evt", ids.uuid7()), "run.finished", timezone.now())
    known: dict[str, Any] = {"target": "run:0", "body": '{"prompt":"dämmerung 🌆"}'.encode()}
    item = queue.delivery(
        team_id=str(person.team.id), url=receiver.url(), event=event, scheme=scheme, **known | more
    )
    queue.queue([item])
    return receiver.wait(1)[-1]


def accepted_by_openai(got: Received, secret: str) -> bool:
    client = OpenAI(api_key="k", webhook_secret=secret)
    try:
        client.webhooks.verify_signature(got.body.decode(), got.headers)
    except InvalidWebhookSignatureError:
        return False
    return True


def accepted_by_replicate(got: Received, secret: str) -> bool:
    try:
        Webhooks.validate(
            headers=got.headers, body=got.body.decode(), secret=WebhookSigningSecret(key=secret)
        )
    except WebhookValidationError:
        return False
    return True


def documented() -> dict[str, Any]:
    """The functions of docs/webhooks.md, as they stand there."""
    found: dict[str, Any] = {}
    text = Path(ROOT / "docs" / "webhooks.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, found)  # noqa: S102 - our own documentation
    return found


def accepted_by_the_documents(got: Received, secret: str) -> bool:
    return bool(documented()["from_kinora"](got.body, got.headers, secret))


VERIFIERS = [accepted_by_openai, accepted_by_replicate, accepted_by_the_documents]


@pytest.mark.parametrize("verifies", VERIFIERS)
def test_the_clients_verifiers_accept_it(
    ada: Person, cy: Person, receiver: Receiver, deliverer: Deliverer, verifies: Any
) -> None:
    got = sent(ada, receiver)

    assert verifies(got, secrets.team_secret(ada.team.id, 1))
    assert not verifies(got, secrets.team_secret(cy.team.id, 1))
    assert not verifies(got, secrets.team_secret(ada.team.id, 2))
    forged = Received(got.path, got.headers, got.body.replace(b"prompt", b"Prompt"))
    assert not verifies(forged, secrets.team_secret(ada.team.id, 1))


@pytest.mark.parametrize("verifies", VERIFIERS)
def test_for_a_day_after_a_turn_both_secrets_are_good(
    ada: Person, receiver: Receiver, deliverer: Deliverer, verifies: Any
) -> None:
    endpoint = Endpoint.objects.create(
        team=ada.team, url=receiver.url(), generation=2, rotated_at=timezone.now()
    )
    named = {"endpoint_id": str(endpoint.id), "target": f"endpoint:{endpoint.id}"}
    got = sent(ada, receiver, **named)
    assert verifies(got, secrets.endpoint_secret(endpoint.id, 2))
    assert verifies(got, secrets.endpoint_secret(endpoint.id, 1))
    assert not verifies(got, secrets.endpoint_secret(endpoint.id, 3))


def test_a_day_after_a_turn_the_old_secret_is_none(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    past = timezone.now() - timedelta(hours=25)
    TeamSecret.objects.create(team=ada.team, generation=2, rotated_at=past)
    got = sent(ada, receiver)
    assert accepted_by_openai(got, secrets.team_secret(ada.team.id, 2))
    assert not accepted_by_openai(got, secrets.team_secret(ada.team.id, 1))


def accepted_by_fals_receivers(got: Received, jwks: dict[str, Any]) -> bool:
    return bool(documented()["from_kinora_as_fal"](got.body, got.headers, jwks))


def test_fals_receivers_accept_it(
    ada: Person, receiver: Receiver, deliverer: Deliverer, settings: Settings
) -> None:
    run_id = ids.uuid7()
    got = sent(ada, receiver, "fal", run_id=str(run_id))

    assert got.headers["x-fal-webhook-request-id"] == ids.public("run", run_id)
    assert got.headers["x-fal-webhook-user-id"] == ada.team.public_id
    assert accepted_by_fals_receivers(got, secrets.jwks())
    assert not accepted_by_fals_receivers(Received("/", got.headers, b"{}"), secrets.jwks())
    turned, settings.WEBHOOK_SIGNING_KEY = settings.WEBHOOK_SIGNING_KEY, "the next one"
    assert not accepted_by_fals_receivers(got, secrets.jwks())
    settings.WEBHOOK_OTHER_KEY = turned
    assert len(secrets.jwks()["keys"]) == 2
    assert accepted_by_fals_receivers(got, secrets.jwks())


def test_secrets_have_the_form_that_every_client_reads(ada: Person) -> None:
    made = {secrets.team_secret(ada.team.id, generation) for generation in range(1, 400)}
    assert len(made) == 399
    for secret in made:
        head, body = secret.split("_")  # replicate's verifier wants exactly two parts
        assert head == "whsec"
        assert len(base64.b64decode(body, validate=True)) == 32


def test_the_key_list_is_public(client: Any) -> None:
    for path in ("/.well-known/jwks.json",):
        answer = client.get(path)
        assert answer.status_code == 200
        assert orjson.loads(answer.content) == secrets.jwks()
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        [key] = orjson.loads(answer.content)["keys"]
        assert (key["kty"], key["crv"], len(key["x"])) == ("OKP", "Ed25519", 43)
