"""Wait for a run and follow it, as a client of the native API does."""

import json
import threading
import time
from typing import Any

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.runs import stream_ticket
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.web import Answer, Client

BODY: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
PRICE = 2_000_000


def test_wait_answers_with_the_finished_run(web: Client, ada: Person, still: Release) -> None:
    answers: list[Answer] = []
    caller = threading.Thread(
        target=lambda: answers.append(web.run({**BODY, "wait": 20}, key=ada.text))
    )
    caller.start()
    while not Run.objects.exists():
        time.sleep(0.01)
    worker.succeed(*worker.claim())
    caller.join(20)

    assert answers[0].status == 201
    assert answers[0].json["state"] == "succeeded"
    assert answers[0].json["cost"]["captured"]["nano"] == PRICE
    assert answers[0].json["cost"]["given_back"]["nano"] == 0
    assert len(answers[0].json["outputs"]) == 1


def test_wait_answers_in_time_with_a_run_that_goes_on(
    web: Client, ada: Person, still: Release
) -> None:
    answer = web.run({**BODY, "wait": 0.2}, key=ada.text)

    assert (answer.status, answer.json["state"]) == (201, "queued")


def events_of(answer: Answer) -> list[tuple[str, Any]]:
    """(event, data) of a finished stream."""
    found = []
    for block in answer.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_progress_and_the_end(web: Client, ada: Person, still: Release) -> None:
    run = web.run(BODY, key=ada.text).json
    answers: list[Answer] = []
    reader = threading.Thread(
        target=lambda: answers.append(web.get(run["links"]["events"], key=ada.text))
    )
    reader.start()
    time.sleep(0.3)
    run_id, attempt = worker.claim()
    time.sleep(0.3)
    worker.report(run_id, attempt, 3, 20, "data:image/webp;base64,AAAA")
    time.sleep(0.3)
    worker.succeed(run_id, attempt)
    reader.join(20)

    told = events_of(answers[0])
    states = [(data["state"], data["progress"]) for event, data in told if event == "run"]
    progress = {"stage": "sampling", "step": 3, "steps": 20}
    assert answers[0].headers["content-type"] == "text/event-stream"
    assert states == [
        ("queued", None),
        ("running", None),
        ("running", {**progress, "preview": "data:image/webp;base64,AAAA"}),
        ("succeeded", None),
    ]
    assert told[-1] == ("done", {})


def test_a_ticket_opens_the_events_of_its_run_alone(
    web: Client, ada: Person, still: Release
) -> None:
    mine, other = (web.run(BODY, key=ada.text).json for _ in range(2))
    for run in (mine, other):
        web.call("POST", run["links"]["cancel"], key=ada.text)
    run_id = ids.private("run", mine["id"])
    assert run_id is not None
    ticket = stream_ticket.sign(run_id)

    opened = web.get(f"{mine['links']['events']}?ticket={ticket}")
    assert [event for event, _ in events_of(opened)] == ["run", "done"]
    assert web.get(f"{other['links']['events']}?ticket={ticket}").status == 401
    assert web.get(f"{mine['links']['events']}?ticket={ticket}x").status == 401
