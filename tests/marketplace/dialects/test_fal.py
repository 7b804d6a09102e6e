"""fal's words on the wire: bodies, statuses and headers that its clients break without."""

import json
import threading
import time
from typing import Any

import pytest

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.check import check
from marketplace.ledger.models import Hold
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.journeys.books import written
from tests.marketplace import worker
from tests.marketplace.supply import until
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)

STILL = "rehearsal/still"
ASKED: dict[str, Any] = {"prompt": "dusk", "image_size": "square", "num_images": 2, "seed": 7}
RANDOM = "run_01m7x3yvyte9sagyvwwf6hge6p"


class Fal:
    """A caller of fal's addresses with one key."""

    def __init__(self, web: Client, key: str | None) -> None:
        self.web, self.key = web, key

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            named["Authorization"] = f"Key {self.key}"
        return self.web.call(method, path, body, headers=named)

    def submit(self, body: Any = None, model: str = STILL, **headers: str) -> Answer:
        return self.call("POST", f"/fal/queue/{model}", ASKED if body is None else body, **headers)

    def of(self, run: str, rest: str = "", method: str = "GET", model: str = STILL) -> Answer:
        return self.call(method, f"/fal/queue/{model}/requests/{run}{rest}")


@pytest.fixture
def fal(web: Client, ada: Person) -> Fal:
    return Fal(web, ada.text)


def data_of(answer: Answer) -> list[Any]:
    """What the events of a stream say."""
    lines = answer.body.decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def in_thread(call: Any) -> tuple[threading.Thread, list[Answer]]:
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


# ── the queue ─────────────────────────────────────────────────────────────────────────────────


def test_a_submission_answers_with_its_addresses(fal: Fal, still: Release, settings: Any) -> None:
    answer = fal.submit()
    run = answer.json["request_id"]
    own = f"{settings.SITE_URL}/fal/queue/rehearsal/still/requests/{run}"
    assert answer.status == 200
    assert answer.json == {
        "status": "IN_QUEUE",
        "request_id": run,
        "response_url": own,
        "status_url": f"{own}/status",
        "cancel_url": f"{own}/cancel",
        "queue_position": 0,
        "logs": None,
        "metrics": {},
    }
    assert answer.headers["x-fal-request-id"] == run
    asked = Run.objects.get().inputs
    assert asked | ASKED == asked | {"image_size": "square", "num_images": 2} | ASKED
    assert (asked["size"], asked["count"], asked["seed"]) == ("512x512", 2, 7)


def test_a_status_has_every_key_whatever_the_state(fal: Fal, still: Release) -> None:
    first, second = (fal.submit(ASKED | {"seed": n}).json["request_id"] for n in (1, 2))
    waiting = fal.of(second, "/status?logs=0")
    assert waiting.status == 202
    assert waiting.json["status"] == "IN_QUEUE"
    assert waiting.json["queue_position"] == 1
    assert waiting.json["logs"] is None

    run_id, attempt = worker.claim()
    worker.report(run_id, attempt, 3, 20)
    running = fal.of(first, "/status?logs=true")
    assert (running.status, running.json["status"]) == (202, "IN_PROGRESS")
    assert [line["message"] for line in running.json["logs"]] == [
        f"Queued for rehearsal/still@{still.version}.",
        "Started, attempt 1.",
        "sampling: step 3 of 20",
    ]
    assert {(line["level"], line["source"]) for line in running.json["logs"]} == {("INFO", "USER")}

    worker.succeed(run_id, attempt, pictures=2)
    done = fal.of(first, "/status?logs=1")
    assert (done.status, done.json["status"]) == (200, "COMPLETED")
    assert done.json["metrics"]["inference_time"] >= 0
    assert done.json["logs"][-1]["message"] == "Succeeded."
    assert "error" not in done.json
    assert fal.of(first, "/status").json["logs"] is None
    shared = {"request_id", "response_url", "status_url", "cancel_url", "logs", "status"}
    for answer in (waiting, running, done):
        assert shared <= answer.json.keys()
        assert answer.headers["x-fal-request-id"] == answer.json["request_id"]


def test_a_result_is_the_output_and_nothing_around_it(fal: Fal, still: Release) -> None:
    run = fal.submit().json["request_id"]
    early = fal.of(run)
    assert (early.status, early.json["detail"]) == (400, "Request is still in progress")
    worker.succeed(*worker.claim(), pictures=2)
    done = fal.of(run)
    assert done.status == 200
    assert done.headers["x-fal-billable-units"] == "2"
    assert list(done.json) == ["images", "timings", "seed", "prompt", "has_nsfw_concepts"]
    assert (done.json["seed"], done.json["prompt"]) == (7, "dusk")
    assert done.json["has_nsfw_concepts"] == [False, False]
    picture = done.json["images"][0]
    assert picture["url"].startswith("http")
    assert picture["file_name"].endswith(".png")
    assert {name: picture[name] for name in ("content_type", "file_size", "width", "height")} == {
        "content_type": "image/png",
        "file_size": 100,
        "width": 64,
        "height": 64,
    }


def test_what_failed_is_completed_and_its_result_says_why(
    fal: Fal, ada: Person, still: Release
) -> None:
    refused, broken, ours = (fal.submit(ASKED | {"seed": n}).json["request_id"] for n in range(3))
    for outcome, text in (
        ("refused_after", "The lab does not draw this."),
        ("supplier_error", "The lab failed to draw this."),
        ("our_error", "Our worker was lost."),
    ):
        worker.fail(*worker.claim(), outcome=outcome, message=text)
    told = fal.of(refused, "/status").json
    assert told["status"] == "COMPLETED"
    assert (told["error"], told["error_type"]) == (
        "The lab does not draw this.",
        "content_policy_violation",
    )
    answer = fal.of(refused)
    assert answer.status == 422
    assert answer.json["message"] == "The lab does not draw this."
    assert answer.json["detail"] == [
        {
            "loc": ["body", "prompt"],
            "msg": "The lab does not draw this.",
            "type": "content_policy_violation",
        }
    ]
    found = [(one.status, one.json["error_type"]) for one in (fal.of(broken), fal.of(ours))]
    assert found == [(500, "runner_server_error"), (500, "internal_error")]
    assert fal.of(broken).headers["x-fal-error-type"] == "runner_server_error"
    assert balance(ada.team.id).available == 5_000_000_000
    assert check() == []


def test_a_cancelled_run_is_completed_and_a_second_cancel_is_told_so(
    fal: Fal, ada: Person, still: Release
) -> None:
    run = fal.submit().json["request_id"]
    first = fal.of(run, "/cancel", "PUT")
    assert (first.status, first.json) == (200, {"status": "CANCELLATION_REQUESTED"})
    second = fal.of(run, "/cancel", "PUT")
    assert (second.status, second.json["status"]) == (400, "ALREADY_COMPLETED")
    told = fal.of(run, "/status").json
    assert (told["status"], told["error_type"]) == ("COMPLETED", "client_cancelled")
    result = fal.of(run)
    assert (result.status, result.json["error_type"]) == (499, "client_cancelled")
    assert Hold.objects.get().state == "voided"
    assert balance(ada.team.id).held == 0


def test_a_running_run_is_asked_to_stop(fal: Fal, still: Release) -> None:
    run = fal.submit().json["request_id"]
    worker.claim()
    for _ in range(2):
        answer = fal.of(run, "/cancel", "PUT")
        assert (answer.status, answer.json) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert Run.objects.get().cancel_requested_at
    assert fal.of(run, "/status").json["status"] == "IN_PROGRESS"


def test_another_teams_run_is_like_one_that_never_was(
    fal: Fal, web: Client, cy: Person, still: Release
) -> None:
    run = fal.submit().json["request_id"]
    stranger = Fal(web, cy.text)
    for rest, method in (("", "GET"), ("/status", "GET"), ("/status/stream", "GET")):
        theirs, nobodys = stranger.of(run, rest, method), stranger.of(RANDOM, rest, method)
        assert theirs.status == nobodys.status == 404
        assert theirs.body.replace(run.encode(), b"") == nobodys.body.replace(RANDOM.encode(), b"")
    theirs = stranger.of(run, "/cancel", "PUT")
    assert (theirs.status, theirs.json["status"]) == (404, "NOT_FOUND")
    assert fal.of(run, model="rehearsal/clip").status == 404
    assert fal.of(run, model=f"{STILL}@{still.version}/more").status == 400  # it is still there
    assert Run.objects.get().state == "queued"


def test_statuses_stream_with_new_log_lines_until_the_end(fal: Fal, still: Release) -> None:
    run = fal.submit().json["request_id"]
    reader, answers = in_thread(lambda: fal.of(run, "/status/stream?logs=1"))
    time.sleep(0.3)
    run_id, attempt = worker.claim()
    time.sleep(0.3)
    worker.succeed(run_id, attempt)
    reader.join(20)
    told = data_of(answers[0])
    assert answers[0].headers["content-type"] == "text/event-stream"
    assert [one["status"] for one in told] == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    assert [[line["message"].split()[0] for line in one["logs"]] for one in told] == [
        ["Queued"],
        ["Started,"],
        ["Succeeded."],
    ]


# ── run and stream ────────────────────────────────────────────────────────────────────────────


def test_run_answers_with_the_output_itself(fal: Fal, still: Release) -> None:
    for method, path, sent in (
        ("POST", "/fal/run/rehearsal/still", ASKED),
        ("GET", "/fal/run/rehearsal/still?prompt=dusk&num_images=2&seed=7", None),
    ):
        caller, answers = in_thread(lambda m=method, p=path, s=sent: fal.call(m, p, s))
        until(lambda: Run.objects.filter(state="queued").exists())
        worker.succeed(*worker.claim(), pictures=2)
        caller.join(20)
        assert answers[0].status == 200
        assert len(answers[0].json["images"]) == 2
        run = ids.public("run", Run.objects.latest("created_at").id)
        assert answers[0].headers["x-fal-request-id"] == run


def test_a_stream_shows_previews_and_ends_with_the_output(fal: Fal, still: Release) -> None:
    reader, answers = in_thread(lambda: fal.call("POST", "/fal/run/rehearsal/still/stream", ASKED))
    until(Run.objects.exists)
    run_id, attempt = worker.claim()
    worker.report(run_id, attempt, 3, 20, "data:image/webp;base64,AAAA")
    time.sleep(0.3)
    worker.succeed(run_id, attempt)
    reader.join(20)
    first, last = data_of(answers[0])
    assert answers[0].headers["content-type"] == "text/event-stream"
    assert answers[0].headers["x-fal-request-id"] == ids.public("run", run_id)
    assert first == {
        "images": [{"url": "data:image/webp;base64,AAAA", "content_type": "image/webp"}],
        "progress": {"stage": "sampling", "step": 3, "steps": 20},
        "partial": True,
    }
    assert last == fal.of(ids.public("run", run_id)).json


def test_a_stream_that_fails_before_it_begins_says_so_with_its_status(
    fal: Fal, still: Release
) -> None:
    reader, answers = in_thread(lambda: fal.call("POST", "/fal/run/rehearsal/still/stream", ASKED))
    until(Run.objects.exists)
    worker.fail(*worker.claim(), outcome="supplier_error", message="The lab failed.")
    reader.join(20)
    assert (answers[0].status, answers[0].json["message"]) == (500, "The lab failed.")


# ── errors ────────────────────────────────────────────────────────────────────────────────────

# What is sent → where, and pydantic's type.
BAD: dict[str, tuple[Any, list[str], str]] = {
    "no prompt": ({}, ["body", "prompt"], "missing"),
    "empty prompt": ({"prompt": ""}, ["body", "prompt"], "string_too_short"),
    "a long prompt": ({"prompt": "a" * 1001}, ["body", "prompt"], "string_too_long"),
    "a truth": ({"prompt": True}, ["body", "prompt"], "string_type"),
    "too many": ({"prompt": "a", "num_images": 5}, ["body", "num_images"], "less_than_equal"),
    "none": ({"prompt": "a", "num_images": 0}, ["body", "num_images"], "greater_than_equal"),
    "in words": ({"prompt": "a", "num_images": "two"}, ["body", "num_images"], "int_type"),
    "unknown": ({"prompt": "a", "colour": 1}, ["body", "colour"], "extra_forbidden"),
    "odd": ({"prompt": "a", "behaviour": "x"}, ["body", "behaviour"], "literal_error"),
    "a size": ({"prompt": "a", "image_size": "1x1"}, ["body", "image_size"], "value_error"),
}


def test_bad_input_is_a_list_of_places_and_moves_nothing(
    fal: Fal, ada: Person, still: Release
) -> None:
    before = written(ada)
    for name, (sent, where, kind) in BAD.items():
        for path in ("/fal/queue/rehearsal/still", "/fal/run/rehearsal/still"):
            answer = fal.call("POST", path, sent)
            assert answer.status == 422, name
            [problem] = answer.json["detail"]
            assert (problem["loc"], problem["type"]) == (where, kind), name
            assert answer.json["message"] == problem["msg"]
            assert answer.headers["x-fal-error-type"] == kind
            assert answer.headers["x-fal-billable-units"] == "0"
            assert answer.headers["x-fal-request-id"].startswith("req_")
    assert written(ada) == before
    low = fal.submit({"prompt": "a", "num_images": 5}).json["detail"][0]
    assert (low["msg"], low["ctx"]) == ("num_images must be at most 4.", {"le": 4})


def test_requests_that_cannot_be_served_say_so_in_words(
    web: Client, fal: Fal, ada: Person, ben: Person, still: Release
) -> None:
    before = written(ada)
    answers = {
        "no key": (Fal(web, None).submit(), 401, "not_authenticated"),
        "a wrong key": (Fal(web, "kin_live_wrong").submit(), 401, "not_authenticated"),
        "a key that reads": (Fal(web, ben.text).submit(), 403, "not_allowed"),
        "no model": (fal.submit(model="rehearsal/none"), 404, "not_found"),
        "no address": (fal.call("GET", "/fal/elsewhere"), 404, "not_found"),
        "no method": (fal.call("DELETE", "/fal/queue/rehearsal/still"), 405, "method_not_allowed"),
        "no JSON": (fal.submit(b"{prompt}"), 400, "bad_request"),
        "a priority": (fal.submit(X_Fal_Queue_Priority="high"), 400, "bad_request"),
        "a cap": (fal.submit(X_Kinora_Max_Cost="0.003"), 403, "cost_above_limit"),
    }
    for name, (answer, status, kind) in answers.items():
        assert (answer.status, answer.json["error_type"]) == (status, kind), name
        assert answer.json["detail"] == answer.json["message"] != "", name
        assert answer.headers["x-fal-error-type"] == kind, name
    assert written(ada) == before


def test_who_has_no_money_left_is_refused_for_good(fal: Fal, ada: Person, clip: Release) -> None:
    asked = {"prompt": "dusk", "duration": "10"}
    answers = [fal.submit(asked, "rehearsal/clip", Idempotency_Key=str(n)) for n in range(51)]
    assert [answer.status for answer in answers] == [200] * 50 + [403]
    assert answers[-1].json["detail"].startswith("Exhausted balance. ")
    assert answers[-1].headers["x-fal-retryable"] == "false"
    assert balance(ada.team.id).available == 0


def test_one_idempotency_key_is_one_run(fal: Fal, still: Release) -> None:
    first, second = (fal.submit(Idempotency_Key="click-1") for _ in range(2))
    assert first.json["request_id"] == second.json["request_id"]
    other = fal.submit({"prompt": "dawn"}, Idempotency_Key="click-1")
    assert (other.status, other.json["detail"][0]["loc"]) == (422, ["header", "idempotency-key"])
    assert Run.objects.count() == 1
