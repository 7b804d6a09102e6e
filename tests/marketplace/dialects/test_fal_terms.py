"""What fal's callers ask for beside the input: priority, time to start, retries, webhooks, room."""

import base64
import hashlib
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.catalog.models import Release
from marketplace.ledger.check import check
from marketplace.ledger.models import Hold
from marketplace.runs import claim, sweep
from marketplace.runs.connections import rows
from marketplace.runs.deliverer import Deliverer
from marketplace.runs.forget import forget
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.dialects.test_fal import ASKED, Fal, fal
from tests.marketplace.web import Client
from tests.marketplace.webhooks.conftest import deliverer, receiver
from tests.receiver import Received, Receiver

__all__ = ["deliverer", "fal", "receiver"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_low_priority_comes_after_a_normal_one(fal: Fal, still: Release) -> None:
    low = fal.submit(X_Fal_Queue_Priority="low").json
    normal = fal.submit(ASKED | {"seed": 8}, X_Fal_Queue_Priority="normal").json
    assert (low["queue_position"], normal["queue_position"]) == (0, 0)
    order = [ids.public("run", worker.claim()[0]) for _ in range(2)]
    assert order == [normal["request_id"], low["request_id"]]


def test_a_run_that_does_not_start_in_time_ends_at_no_cost(
    fal: Fal, ada: Person, still: Release
) -> None:
    run = fal.submit(X_Fal_Request_Timeout="120.0").json["request_id"]
    start_by = Run.objects.get().start_by
    assert start_by
    assert 110 < (start_by - datetime.now(UTC)).total_seconds() <= 120
    Run.objects.update(start_by="2020-01-01T00:00:00Z")
    assert rows(("SELECT run_id FROM claim_runs('labs', 'tests', '{}', 1, '15 s')", [])) == []
    assert sweep.late_starts() == 1
    assert sweep.late_starts() == 0
    told = fal.of(run, "/status").json
    assert (told["status"], told["error_type"]) == ("COMPLETED", "request_timeout")
    result = fal.of(run)
    assert (result.status, result.json["error_type"]) == (504, "request_timeout")
    assert result.headers["x-fal-request-timeout-type"] == "user"
    assert result.headers["x-fal-request-id"] == run
    assert Hold.objects.get().state == "voided"
    assert check() == []


def test_a_run_that_has_begun_in_time_goes_on(fal: Fal, still: Release) -> None:
    fal.submit(X_Fal_Request_Timeout="120")
    run_id, _ = worker.claim()
    Run.objects.update(start_by="2020-01-01T00:00:00Z", lease_until="2020-01-01T00:00:00Z")
    assert sweep.late_starts() == 0
    assert sweep.lapsed_leases() == 1
    assert worker.claim() == (run_id, 2)


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1e9", "99999999", ""])
def test_a_time_to_start_is_a_number_of_seconds(fal: Fal, still: Release, seconds: str) -> None:
    answer = fal.submit(X_Fal_Request_Timeout=seconds)
    assert (answer.status, answer.json["error_type"]) == (400, "bad_request")
    assert not Run.objects.exists()


def test_who_wants_no_retry_gets_none(fal: Fal, still: Release) -> None:
    run = fal.submit(X_Fal_No_Retry="1").json["request_id"]
    worker.claim()
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    sweep.lapsed_leases()
    assert fal.of(run).status == 500
    assert Run.objects.get().attempt == 1
    assert rows(claim.take_back_lapsed()) == []


def test_a_run_over_the_concurrency_is_429_and_a_submission_waits(
    fal: Fal, ada: Person, still: Release
) -> None:
    budgets.create(team=ada.team, data={"kind": "team", "concurrency": 1}, created_by=ada.user)
    for seed in range(2):
        assert fal.submit(ASKED | {"seed": seed}).status == 200
    worker.claim()
    busy = fal.call("POST", "/fal/run/rehearsal/still", ASKED)
    assert (busy.status, busy.json["error_type"]) == (429, "busy")
    assert busy.headers["x-fal-retryable"] == "true"
    assert fal.submit(ASKED | {"seed": 3}).status == 200


def test_outputs_are_kept_no_longer_than_the_caller_wants(fal: Fal, still: Release) -> None:
    wish = '{"expiration_duration_seconds": 3600, "initial_acl": {"default": "hide"}}'
    assert fal.submit(X_Fal_Object_Lifecycle_Preference=wish).status == 200
    assert Run.objects.get().media_seconds == 3600
    for wrong in ("{", "[]", '{"expiration_duration_seconds": 0}'):
        answer = fal.submit(X_Fal_Object_Lifecycle_Preference=wrong)
        assert answer.status == 422, wrong
    assert Run.objects.count() == 1


def test_who_wants_no_payload_stored_has_the_words_forgotten_and_the_pictures_kept(
    fal: Fal, still: Release
) -> None:
    run = fal.submit(X_Fal_Store_IO="0").json["request_id"]
    kept = Run.objects.get()
    assert kept.forget_at
    assert (kept.forget_at - kept.created_at).total_seconds() == 3600
    assert kept.media_seconds == settings.OUTPUT_SECONDS
    worker.succeed(*worker.claim())
    assert fal.of(run).json["prompt"] == ASKED["prompt"]
    Run.objects.update(forget_at="2020-01-01T00:00:00Z")
    assert forget() == 1
    told = fal.of(run).json
    assert (told["prompt"], len(told["images"])) == (None, 1)
    assert check() == []
    fal.submit(X_Fal_Store_IO="1")
    assert Run.objects.get(state="queued").forget_at is None


# ── webhooks ──────────────────────────────────────────────────────────────────────────────────


def verified(web: Client, received: Received) -> bool:
    """As fal's documentation has receivers do it, with our list of keys."""
    heads = {name: received.headers[f"x-fal-webhook-{name}"] for name in NAMES}
    assert abs(time.time() - int(heads["timestamp"])) < 300
    digest = hashlib.sha256(received.body).hexdigest()
    message = "\n".join([heads["request-id"], heads["user-id"], heads["timestamp"], digest])
    [key] = web.get("/fal/rest/.well-known/jwks.json").json["keys"]
    public = base64.urlsafe_b64decode(key["x"] + "==")
    signature = bytes.fromhex(received.headers["x-fal-webhook-signature"])
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message.encode())
    return True


NAMES = ("request-id", "user-id", "timestamp")


def test_a_webhook_brings_the_output_and_one_the_error(
    fal: Fal, web: Client, still: Release, receiver: Receiver, deliverer: Deliverer
) -> None:
    path = f"/fal/queue/rehearsal/still?fal_webhook={receiver.url()}"
    good, bad = (fal.call("POST", path, ASKED | {"seed": n}).json["request_id"] for n in range(2))
    worker.succeed(*worker.claim(), pictures=2)
    worker.fail(*worker.claim(), outcome="refused_after", message="The lab does not draw this.")
    told = {one.json["request_id"]: one for one in receiver.wait(2)}
    first, second = told[good].json, told[bad].json
    assert (first["status"], first["error"], first["gateway_request_id"]) == ("OK", None, good)
    assert [image["file_size"] for image in first["payload"]["images"]] == [100, 100]
    assert (second["status"], second["error"]) == ("ERROR", "Invalid status code: 422")
    assert second["payload"] == fal.of(bad).json
    assert all(verified(web, one) for one in told.values())
    assert told[good].headers["x-fal-webhook-request-id"] == good


def test_a_webhook_that_we_may_not_call_is_refused(fal: Fal, still: Release, settings: Any) -> None:
    settings.ALLOW_LOOPBACK_WEBHOOKS = False
    answer = fal.call("POST", "/fal/queue/rehearsal/still?fal_webhook=http://127.0.0.1/", ASKED)
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["query", "fal_webhook"]
    assert not Run.objects.exists()
