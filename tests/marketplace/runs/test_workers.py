"""The GPU workers' door, called as a worker calls it."""

import hashlib
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import F

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.fleet import token
from marketplace.fleet.models import Residency, Worker
from marketplace.metering.models import MeterEvent
from marketplace.runs import sweep
from marketplace.runs.models import Attempt, Progress, Run
from marketplace.runs.receipt import receipt
from partners import drawing
from tests.conftest import Person
from tests.marketplace.runs.conftest import WORKER_TOKEN
from tests.marketplace.supply import admit, closed
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)

PICTURE = drawing.thumbnail("red heart", 0, 0)
USAGE = {"gpu_seconds": 0.25, "outputs": 1, "steps": 20, "peak_bytes": 1}
Job = dict[str, Any]


def tell(web: Client, verb: str, body: Any, *, key: str | None = WORKER_TOKEN) -> Answer:
    return web.call("POST", f"/fleet/v1/{verb}", body, key=key)


def claimed(web: Client, *, key: str = WORKER_TOKEN) -> list[Job]:
    body = {"worker": "any name", "queue": "cpu.std", "resident": ["glyph"], "limit": 1}
    answer = tell(web, "claim", body, key=key)
    assert answer.status == 200
    found: list[Job] = answer.json["runs"]
    return found


def put(web: Client, url: str, content: bytes, content_type: str = "image/png") -> Answer:
    path = urlsplit(url)
    headers = {"Content-Type": content_type}
    return web.call("PUT", f"{path.path}?{path.query}", content, headers=headers)


def of(job: Job, **more: Any) -> Job:
    return {"run": job["run"], "attempt": job["attempt"]} | more


def completion(job: Job, state: str = "succeeded", **more: Any) -> Job:
    digest = hashlib.sha256(PICTURE).hexdigest()
    file = {"index": 0, "content_type": "image/png", "bytes": len(PICTURE), "sha256": digest}
    return of(job, state=state, outputs=[file], usage=USAGE, error=None) | more


def run_of(job: Job) -> UUID:
    found = ids.private("run", job["run"])
    assert found
    return found


@pytest.fixture
def job(ada: Person, glyph: Release, gpu: Worker, web: Client) -> Job:
    """A run that gpu-1 claimed ten seconds ago."""
    admit(ada, "kinora/glyph", prompt="red heart", steps=8, size=64)
    found = claimed(web)[0]
    Attempt.objects.update(claimed_at=F("claimed_at") - timedelta(seconds=10))
    return found


def test_a_claim_tells_everything_that_the_work_needs(job: Job, gpu: Worker) -> None:
    assert job["attempt"] == 1
    assert job["release"].startswith("kinora/glyph@")
    assert (job["target"], job["timeout_seconds"], job["lease_seconds"]) == ("glyph", 60, 15)
    assert job["inputs"]["prompt"] == "red heart"
    assert [(u["index"], u["content_type"]) for u in job["uploads"]] == [(0, "image/png")]
    assert Run.objects.get().route["reason"] == "warm"
    assert Run.objects.get().worker == "gpu-1"
    assert list(Residency.objects.values_list("target", flat=True)) == ["glyph"]
    gpu.refresh_from_db()
    assert gpu.last_seen_at is not None


def test_a_worker_with_runs_in_hand_gets_those_of_loaded_models_only(
    ada: Person, glyph: Release, gpu: Worker, web: Client
) -> None:
    admit(ada, "kinora/glyph", prompt="red heart", steps=8, size=64)
    asked = {"queue": "cpu.std", "resident_only": True, "limit": 1}
    cold, warm = ({**asked, "resident": loaded} for loaded in (["other"], ["glyph"]))
    assert tell(web, "claim", cold).json == {"runs": []}
    assert (Run.objects.get().state, Run.objects.get().attempt) == ("queued", 0)
    assert len(tell(web, "claim", warm).json["runs"]) == 1


def test_an_old_run_of_another_model_lets_a_worker_empty_its_hands(
    ada: Person, glyph: Release, gpu: Worker, web: Client
) -> None:
    """Else a steady stream of one model's runs would keep it waiting for ever."""
    other = Release.objects.get(pk=glyph.pk)
    other.pk, other.version, other.target = None, "2026-01-01", "cold"
    other.save()
    for prompt in ("old", "young"):
        admit(ada, "kinora/glyph", prompt=prompt, steps=8, size=64)
    old = Run.objects.filter(inputs__prompt="old")
    old.update(release=other, created_at=F("created_at") - timedelta(seconds=11))
    body = {"queue": "cpu.std", "resident": ["glyph"], "limit": 1}
    assert tell(web, "claim", {**body, "resident_only": True}).json == {"runs": []}
    (first,) = tell(web, "claim", body).json["runs"]
    assert first["target"] == "cold"


def test_an_empty_queue_gives_no_runs(gpu: Worker, web: Client) -> None:
    assert claimed(web) == []


def test_a_delivered_picture_is_measured_and_its_seconds_charged(job: Job, web: Client) -> None:
    assert put(web, job["uploads"][0]["url"], PICTURE).status == 201
    assert tell(web, "complete", completion(job)).json == {"state": "succeeded"}
    run = Run.objects.get()
    output = run.outputs.get()
    assert (run.outcome, output.width, output.height) == ("succeeded", 64, 64)
    assert closed(run.id) == ("captured", 25_000)
    event = MeterEvent.objects.get()
    assert (str(event.reported), str(event.quantity)) == ("0.250000", "0.250000")
    assert event.measured is not None
    assert event.measured >= event.quantity


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"name": "templates", "exactness": "E1"},
         {"name": "templates", "exactness": "E1", "means": "rounded otherwise"}),
        ({"name": "templates", "exactness": "best"}, None),
        ("fast", None),
        (None, None),
    ],
)  # fmt: skip
def test_a_receipt_says_what_computed_the_run(
    job: Job, ada: Person, web: Client, told: Any, shown: Any
) -> None:
    put(web, job["uploads"][0]["url"], PICTURE)
    tell(web, "complete", completion(job, usage=USAGE | {"plan": told}))
    assert receipt(run_of(job), ada.team.id)["plan"] == shown


def test_completing_twice_gives_the_same_answer_and_charges_once(job: Job, web: Client) -> None:
    put(web, job["uploads"][0]["url"], PICTURE)
    answers = [tell(web, "complete", completion(job)).json for _ in range(3)]
    assert answers == [{"state": "succeeded"}] * 3
    assert MeterEvent.objects.count() == 1
    assert closed(run_of(job)) == ("captured", 25_000)


def test_more_seconds_than_passed_on_our_clock_are_left_to_an_admin(job: Job, web: Client) -> None:
    put(web, job["uploads"][0]["url"], PICTURE)
    boast = completion(job, usage=USAGE | {"gpu_seconds": 40.0})
    assert tell(web, "complete", boast).json == {"state": "succeeded"}
    assert closed(run_of(job)) == ("in_review", 0)
    assert Run.objects.get().outputs.count() == 1


@pytest.mark.parametrize("fault", ["nothing was put", "another hash", "not a picture"])
def test_outputs_that_cannot_be_vouched_for_are_our_error(
    job: Job, web: Client, fault: str
) -> None:
    content = b"<html>not a picture</html>" if fault == "not a picture" else PICTURE
    told = completion(job)
    told["outputs"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    if fault != "nothing was put":
        assert put(web, job["uploads"][0]["url"], content).status == 201
    if fault == "another hash":
        told["outputs"][0]["sha256"] = "00" * 32
    assert tell(web, "complete", told).json == {"state": "failed"}
    run = Run.objects.get()
    assert (run.outcome, run.outputs.count()) == ("our_error", 0)
    assert closed(run.id) == ("voided", 0)


def test_a_lost_attempt_is_queued_again_and_never_charged(job: Job, web: Client) -> None:
    lost = completion(job, "lost", outputs=[], error={"code": "oom", "message": "", "retry": True})
    assert [tell(web, "complete", lost).json for _ in range(2)] == [{"state": "queued"}] * 2
    assert closed(run_of(job)) == ("open", 0)
    again = claimed(web)[0]
    assert (again["run"], again["attempt"]) == (job["run"], 2)
    assert list(Attempt.objects.order_by("number").values_list("outcome", flat=True)) == [
        "lost",
        "",
    ]


def test_a_run_that_is_lost_three_times_fails_and_costs_nothing(job: Job, web: Client) -> None:
    states = []
    for _ in range(3):
        lost = completion(job, "lost", outputs=[])
        states += [tell(web, "complete", lost).json["state"] for _ in range(2)]
        job = (claimed(web) or [job])[0]
    assert states == ["queued", "queued", "queued", "queued", "failed", "failed"]
    assert Run.objects.get().outcome == "our_error"
    assert closed(run_of(job)) == ("voided", 0)


def test_a_late_result_is_welcome_while_nobody_has_claimed_the_run_again(
    job: Job, web: Client
) -> None:
    put(web, job["uploads"][0]["url"], PICTURE)
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert sweep.lapsed_leases() == 1
    assert tell(web, "complete", completion(job)).json == {"state": "succeeded"}
    assert closed(run_of(job)) == ("captured", 25_000)


@pytest.mark.parametrize("verb", ["renew", "report", "complete"])
def test_a_stale_attempt_is_refused_and_nothing_moves(job: Job, web: Client, verb: str) -> None:
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert sweep.lapsed_leases() == 1
    assert claimed(web)[0]["attempt"] == 2
    put(web, job["uploads"][0]["url"], PICTURE)
    progress = {"stage": "denoise", "step": 1, "steps": 8, "preview": None}
    answer = tell(web, verb, completion(job, progress=progress))
    assert (answer.status, answer.error["code"]) == (409, "stale_attempt")
    run = Run.objects.get()
    assert (run.state, run.attempt, run.outputs.count()) == ("running", 2, 0)
    assert not Progress.objects.exists()
    assert closed(run.id) == ("open", 0)


def test_a_cancel_reaches_the_worker_with_its_next_word(job: Job, ada: Person, web: Client) -> None:
    assert tell(web, "renew", of(job)).json == {"cancel": False, "lease_seconds": 15}
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run_of(job), ada.team.id])
    preview = "data:image/png;base64,AAAA"
    progress = {"stage": "denoise", "step": 3, "steps": 8, "preview": preview}
    assert tell(web, "report", of(job, progress=progress)).json == {"cancel": True}
    assert Progress.objects.get().preview == preview
    cancelled = completion(job, "cancelled", outputs=[])
    assert tell(web, "complete", cancelled).json == {"state": "cancelled"}
    assert Run.objects.get().outcome == "cancelled_after"
    assert closed(run_of(job)) == ("captured", 25_000)  # seconds until it stopped


def test_another_workers_attempt_is_not_there(job: Job, web: Client) -> None:
    token.register(name="gpu-2", pool="cpu.std", token="another token")
    for verb in ("renew", "report", "complete"):
        answer = tell(web, verb, completion(job), key="another token")
        assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert Run.objects.get().state == "running"


def test_a_worker_only_gets_runs_of_its_own_pool(ada: Person, glyph: Release, web: Client) -> None:
    token.register(name="gpu-9", pool="gpu.h200", token="its token")
    admit(ada, "kinora/glyph", prompt="red heart", size=64)
    assert claimed(web, key="its token") == []
    assert Run.objects.get().state == "queued"


def test_without_a_workers_token_nothing_opens(job: Job, ada: Person, web: Client) -> None:
    Worker.objects.create(
        name="old", pool_id=Worker.objects.get().pool_id, digest=token.digest("old token"),
        revoked_at="2020-01-01T00:00:00Z",
    )  # fmt: skip
    for key in (None, "wrong", "old token", ada.text):
        answer = tell(web, "complete", completion(job), key=key)
        assert (answer.status, answer.error["code"]) == (401, "not_authenticated")
    assert closed(run_of(job)) == ("open", 0)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        ({"run": "run_1", "attempt": 1}, 404, None),
        ({"attempt": "one"}, 422, "attempt"),
        ({"state": "finished"}, 422, "state"),
        ({"usage": {"gpu_seconds": -1}}, 422, "usage.gpu_seconds"),
        ({"usage": {"gpu_seconds": "NaN"}}, 422, "usage.gpu_seconds"),
        ({"outputs": [{"index": "0"}]}, 422, "outputs.index"),
    ],
)
def test_a_malformed_completion_moves_nothing(
    job: Job, web: Client, body: Any, status: int, param: str | None
) -> None:
    sent = completion(job) | body if isinstance(body, dict) else body
    answer = tell(web, "complete", sent)
    assert (answer.status, answer.error["param"]) == (status, param)
    assert closed(run_of(job)) == ("open", 0)
