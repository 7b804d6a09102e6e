"""Runs tell of themselves: what they were asked to tell, in order, and the end last."""

import threading
import time
from typing import Any
from uuid import UUID

import orjson
import pytest
from pytest_django import Settings

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.metering.sale import load_offers
from marketplace.runs import deliver
from marketplace.runs.connections import rows
from marketplace.runs.deliverer import Deliverer
from marketplace.runs.models import Outbox, Run
from marketplace.runs.submit import submit_now
from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.schemes import EVENTS, Event
from marketplace.webhooks.targets import target
from tests.conftest import Person
from tests.lab import Lab
from tests.marketplace.supply import SMALL, ended, suppliers, supplying, until
from tests.marketplace.web import Client
from tests.receiver import Receiver, answering

pytestmark = pytest.mark.django_db(transaction=True)
WISH = {"model": "rehearsal/still", "inputs": {"prompt": "dusk"}}
OUTBOX = "SELECT topic FROM runs_outbox WHERE topic LIKE 'run.%%' ORDER BY id"


def words(row: dict[str, Any], event: Event) -> bytes:
    """A dialect's renderer."""
    outputs = len(row["outputs"] or [])
    return orjson.dumps([event.type, row["state"], outputs, row["finished_at"] is not None])


def silent(row: dict[str, Any], event: Event) -> None:
    """A renderer that has nothing to say."""


def broken(row: dict[str, Any], event: Event) -> bytes:
    raise RuntimeError("a renderer broke")


@pytest.fixture(autouse=True)
def schemes(settings: Settings) -> None:
    here = "tests.marketplace.webhooks.test_runs."
    settings.WEBHOOK_RENDERERS = settings.WEBHOOK_RENDERERS | {
        "words": here + "words",
        "silent": here + "silent",
        "broken": here + "broken",
        "openai": here + "words",
    }


def run(person: Person, *hooks: dict[str, Any], **inputs: Any) -> UUID:
    asked = {"prompt": "dusk"} | SMALL | inputs
    offer = load_offers()["rehearsal/still"]
    run_id = submit_now(offer=offer, inputs=asked, team_id=person.team.id, webhooks=hooks)
    for supplier in suppliers:
        supplier.wake()
    return run_id


def delivered(run_id: UUID) -> list[Delivery]:
    """The run's deliveries, once it has ended, all is told and none is pending."""
    ended(run_id)
    until(lambda: rows((OUTBOX, [])) == [])
    mine = Delivery.objects.filter(run_id=run_id)
    until(lambda: mine.exists() and not mine.filter(state="pending").exists())
    return list(mine.order_by("rank", "id"))


def test_a_run_tells_its_end_with_what_the_api_says_of_it(
    ada: Person, still: Release, lab: Lab, receiver: Receiver, deliverer: Deliverer
) -> None:
    with supplying():
        run_id = run(ada, target(url=receiver.url()))
        [got] = receiver.wait(1)

    found = ended(run_id)
    assert got.json["type"] == "run.finished"
    assert got.json["data"]["id"] == found.public_id
    assert got.json["data"]["state"] == "succeeded"
    assert got.json["data"]["cost"]["captured"]["nano"] == 2_000_000
    assert got.json["data"]["outputs"][0]["url"].startswith("http")
    assert got.id.startswith("evt_")
    assert [one.state for one in delivered(run_id)] == ["delivered"]
    assert rows((OUTBOX, [])) == []


def test_each_event_comes_as_the_run_was_then_and_the_end_comes_last(
    ada: Person, still: Release, lab: Lab, receiver: Receiver, deliverer: Deliverer
) -> None:
    hook = target(url=receiver.url(), events=EVENTS, scheme="words")
    with supplying():
        run_ids = [run(ada, hook) for _ in range(8)]
        for run_id in run_ids:
            ended(run_id)
            delivered(run_id)

    for run_id in run_ids:
        kept = delivered(run_id)
        ours = [one.json for one in receiver.received if one.id in {d.event_id for d in kept}]
        assert ours == [
            ["run.started", "running", 0, False],
            ["run.output", "running", 1, False],
            ["run.finished", "succeeded", 1, True],
        ]


def test_the_end_waits_for_a_start_that_is_tried_again(
    ada: Person, still: Release, lab: Lab, receiver: Receiver, deliverer: Deliverer
) -> None:
    receiver.manners["/hook"] = [answering(500), answering(200)]
    hook = target(url=receiver.url(), events=["run.started", "run.finished"], scheme="words")
    with supplying():
        delivered(run(ada, hook))

    assert [one.json[0] for one in receiver.received] == [
        "run.started",
        "run.started",
        "run.finished",
    ]


def test_an_endpoint_is_told_what_it_asked_for_and_no_other_teams(
    ada: Person, cy: Person, still: Release, lab: Lab, receiver: Receiver, deliverer: Deliverer
) -> None:
    for person, path, types in (
        (ada, "/all", ["run.started", "run.finished"]),
        (ada, "/videos", ["video.completed"]),
        (ada, "/failed", ["video.failed"]),
        (cy, "/other", ["run.finished"]),
    ):
        Endpoint.objects.create(team=person.team, url=receiver.url(path), event_types=types)
    Endpoint.objects.create(
        team=ada.team, url=receiver.url("/off"), event_types=["run.finished"],
        disabled_at="2026-01-01T00:00Z",
    )  # fmt: skip
    with supplying():
        kept = delivered(run(ada))

    told = ["run.finished", "run.started", "video.completed"]
    assert sorted(one.event_type for one in kept) == told
    assert [one.json["type"] for one in receiver.at("/all")] == ["run.started", "run.finished"]
    assert [one.json[0] for one in receiver.at("/videos")] == ["video.completed"]
    assert receiver.at("/failed") == receiver.at("/other") == receiver.at("/off") == []


def test_a_run_that_nobody_asks_about_leaves_nothing(
    ada: Person, still: Release, lab: Lab, deliverer: Deliverer
) -> None:
    with supplying():
        ended(run(ada))
    until(lambda: rows((OUTBOX, [])) == [])
    assert not Delivery.objects.exists()


def test_a_scheme_may_have_nothing_to_say(ada: Person, still: Release, receiver: Receiver) -> None:
    run_id = run(ada, target(url=receiver.url(), scheme="silent"))
    rows(("SELECT cancel_run(%s, %s)", [run_id, ada.team.id]))

    assert deliver.deliver() == 1
    assert not Delivery.objects.exists()


def test_telling_twice_queues_once(ada: Person, still: Release, receiver: Receiver) -> None:
    """A drain that dies before its commit, or two at once, make no second event."""
    run_id = run(ada, target(url=receiver.url()))
    rows(("SELECT cancel_run(%s, %s)", [run_id, ada.team.id]))
    found = deliver.untold()
    threads = [threading.Thread(target=drain, args=[found]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Delivery.objects.count() == 1
    assert rows((OUTBOX, [])) == []


def drain(found: list[Any]) -> None:
    from django.db import connection

    deliver.told(found)
    connection.close()


def test_a_renderer_that_breaks_loses_nothing_and_holds_up_no_other(
    ada: Person, still: Release, receiver: Receiver, settings: Settings
) -> None:
    bad = run(ada, target(url=receiver.url(), scheme="broken"))
    good = run(ada, target(url=receiver.url()))
    for run_id in (bad, good):
        rows(("SELECT cancel_run(%s, %s)", [run_id, ada.team.id]))
    deliver.deliver()
    assert [one.run_id for one in Delivery.objects.all()] == [good]
    assert [row.key for row in Outbox.objects.filter(topic="run.finished")] == [str(bad)]

    mended = settings.WEBHOOK_RENDERERS["words"]
    settings.WEBHOOK_RENDERERS = settings.WEBHOOK_RENDERERS | {"broken": mended}
    deliver.put_off.clear()
    deliver.deliver()
    assert Delivery.objects.filter(run_id=bad).count() == 1
    assert not Outbox.objects.filter(topic="run.finished").exists()


def test_two_addresses_of_a_run_get_the_same_event(
    ada: Person, still: Release, lab: Lab, receiver: Receiver, deliverer: Deliverer
) -> None:
    Endpoint.objects.create(team=ada.team, url=receiver.url("/team"), event_types=["run.finished"])
    with supplying():
        run_id = run(ada, target(url=receiver.url("/a")), target(url=receiver.url("/b")))
        delivered(run_id)

    assert len(receiver.received) == 3
    assert len({one.id for one in receiver.received}) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert Run.objects.get(id=run_id).public_id == ids.public("run", run_id)


def test_progress_is_told_at_most_twice_a_second(
    ada: Person, still: Release, receiver: Receiver, deliverer: Deliverer
) -> None:
    hook = target(url=receiver.url(), events=["run.progress"], scheme="words")
    run_id = run(ada, hook)
    rows(("SELECT run_id FROM claim_runs('labs', 'w', '{}', 1, '1 min')", []))
    begun = time.monotonic()
    while time.monotonic() - begun < 2.2:
        rows(("SELECT * FROM report_run(%s, 1, '1 min', 'steps', 1, 9, '')", [run_id]))
        time.sleep(0.02)

    receiver.wait(2)
    assert {one.json[0] for one in receiver.received} == {"run.progress"}
    assert len({one.id for one in receiver.received}) == len(receiver.received) <= 5


def test_a_run_of_the_native_api_brings_its_webhook(
    ada: Person, still: Release, web: Client, receiver: Receiver
) -> None:
    for webhook, kept in (
        (receiver.url(), target(url=receiver.url())),
        (
            {"url": receiver.url(), "events": ["run.started"]},
            target(url=receiver.url(), events=["run.started"]),
        ),
    ):
        made = web.run({**WISH, "webhook": webhook}, key=ada.text)
        assert made.status == 201
        assert Run.objects.get(id=ids.private("run", made.json["id"])).webhooks == [kept]


@pytest.mark.parametrize(
    "webhook",
    ["http://example.com/", 5, {}, {"url": "https://example.com", "events": "run.finished"},
     {"url": "https://example.com", "events": []}, {"url": "https://example.com", "secret": 1},
     "https://[::ffff:169.254.169.254]/"],
)  # fmt: skip
def test_a_wrong_webhook_starts_nothing(
    ada: Person, still: Release, web: Client, webhook: Any
) -> None:
    refused = web.run({**WISH, "webhook": webhook}, key=ada.text)
    assert (refused.status, refused.error["param"]) == (422, "webhook")
    assert not Run.objects.exists()


def test_a_key_with_another_webhook_is_another_request(
    ada: Person, still: Release, web: Client
) -> None:
    hook = "https://example.com/a"
    first = web.run({**WISH, "webhook": hook}, key=ada.text, once="k")
    same = web.run({**WISH, "webhook": hook}, key=ada.text, once="k")
    other = web.run({**WISH, "webhook": hook + "b"}, key=ada.text, once="k")
    assert (first.status, same.status, other.status) == (201, 200, 422)
    assert same.json["id"] == first.json["id"]
