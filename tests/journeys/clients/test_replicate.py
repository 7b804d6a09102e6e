"""The official Python client of Replicate, unmodified, against the running stack."""

import asyncio
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.webhook import Webhooks

from tests.journeys.clients import flows
from tests.marketplace.media import samples
from tests.receiver import receiving
from tests.running import Stack

STILL = {"prompt": "a paper lantern", "latency_ms": 0}


@contextmanager
def calling(stack: Stack, key: str) -> Iterator[Client]:
    """A client whose connections are closed; it has no verb for that."""
    client = Client(api_token=key, base_url=f"{stack.url}/replicate")
    try:
        yield client
    finally:
        client._client.close()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with calling(stack, stack.key) as client:
        yield client


@pytest.fixture
def stranger(stack: Stack) -> Iterator[Client]:
    with calling(stack, stack.other_key) as client:
        yield client


@flows.shows(flows.Client.REPLICATE, flows.Flow.SUCCESS)
def test_run_gives_pictures(client: Client) -> None:
    [address] = client.run("rehearsal/still", input=STILL)
    assert str(address).startswith("http://127.0.0.1:")


def test_run_of_an_open_model_in_other_words(client: Client) -> None:
    found = client.run("kinora/glyph", input={"prompt": "tomato", "num_outputs": 2, "steps": 4})
    assert len(found) == 2


def test_run_gives_one_address_for_a_clip(client: Client) -> None:
    found = client.run("rehearsal/clip", input={"prompt": "a", "seconds": 1, "latency_ms": 0})
    assert "/media/" in str(found)


def test_run_of_a_pinned_version(client: Client) -> None:
    model = client.models.get("rehearsal/still")
    [version] = model.versions.list().results
    assert len(client.run(f"rehearsal/still:{version.id}", input=STILL)) == 1
    assert model.versions.get(version.id) == model.latest_version


def test_a_prediction_is_followed_to_its_end(client: Client) -> None:
    made = client.models.predictions.create("rehearsal/still", input={**STILL, "latency_ms": 700})
    assert made.status in ("starting", "processing")
    made.wait()
    assert made.status == "succeeded"
    assert made.metrics is not None
    assert made.metrics["predict_time"] > 0
    assert client.predictions.get(made.id).output == made.output or made.output
    assert datetime.fromisoformat(made.completed_at or "")


@flows.shows(flows.Client.REPLICATE, flows.Flow.LATE)
def test_a_wait_that_runs_out_says_starting_and_run_polls_on(client: Client) -> None:
    slow = {**STILL, "latency_ms": 2500}
    began = time.monotonic()
    made = client.models.predictions.create("rehearsal/still", input=slow, wait=1)
    assert made.status == "starting"
    assert 0.9 < time.monotonic() - began < 2
    assert len(client.run("rehearsal/still", input=slow, wait=1)) == 1


@flows.shows(flows.Client.REPLICATE, flows.Flow.FAILURE)
def test_a_failure_raises_with_the_labs_words(client: Client) -> None:
    with pytest.raises(ModelError) as fault:
        client.run("rehearsal/still", input={**STILL, "behaviour": "fail"})
    assert fault.value.prediction.status == "failed"
    assert fault.value.prediction.error


@flows.shows(flows.Client.REPLICATE, flows.Flow.WRONG_INPUT)
def test_a_wrong_input_names_it_in_the_callers_words(client: Client) -> None:
    with pytest.raises(ReplicateError) as fault:
        client.run("rehearsal/still", input={**STILL, "num_outputs": 9})
    assert fault.value.status == 422
    assert fault.value.detail == "num_outputs must be at most 4."


@flows.shows(flows.Client.REPLICATE, flows.Flow.CANCEL, flows.Flow.CANCEL_AGAIN)
def test_cancel_twice(client: Client) -> None:
    made = client.models.predictions.create("rehearsal/still", input={**STILL, "latency_ms": 60000})
    made.cancel()
    while made.status not in ("canceled", "succeeded", "failed"):
        time.sleep(0.1)
        made.reload()
    assert made.status == "canceled"
    assert client.predictions.cancel(made.id).status == "canceled"


@flows.shows(flows.Client.REPLICATE, flows.Flow.STREAM)
def test_stream_ends_with_the_output(client: Client) -> None:
    events = list(client.stream("rehearsal/still", input={**STILL, "latency_ms": 300}))
    assert [event.event.value for event in events][-2:] == ["output", "done"]
    assert events[-2].data.startswith("http://")


def test_lists_go_on_over_pages(client: Client) -> None:
    for _ in range(3):
        client.models.predictions.create("rehearsal/still", input=STILL)
    first = client.predictions.list()
    assert first.previous is None
    assert [p.id for p in first.results] == sorted((p.id for p in first.results), reverse=True)


@flows.shows(flows.Client.REPLICATE, flows.Flow.PAGES)
def test_a_list_of_more_than_a_page_goes_on_by_its_cursor(client: Client) -> None:
    for _ in range(101):
        client.models.predictions.create("rehearsal/still", input=STILL)
    first = client.predictions.list()
    assert (len(first.results), first.previous) == (100, None)
    second = client.predictions.list(cursor=first.next)
    assert second.results
    assert second.results[0].id < first.results[-1].id


@flows.shows(flows.Client.REPLICATE, flows.Flow.LARGE)
def test_a_sound_of_120_megabytes_is_kept(client: Client, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.writelines(samples.wav(115))
    kept = client.files.create(large)
    assert kept.size == large.stat().st_size > 120_000_000
    assert kept.content_type == "audio/wav"


@flows.shows(flows.Client.REPLICATE, flows.Flow.STRANGER)
def test_another_teams_prediction_is_one_that_never_was(client: Client, stranger: Client) -> None:
    made = client.models.predictions.create("rehearsal/still", input=STILL)
    said = []
    for wanted in (made.id, f"{made.id[:-1]}{'0' if made.id[-1] != '0' else '1'}"):
        for call in (stranger.predictions.get, stranger.predictions.cancel):
            with pytest.raises(ReplicateError) as fault:
                call(wanted)
            said.append(fault.value.to_dict())
    assert all(one == said[0] for one in said)
    assert said[0]["status"] == 404


@flows.shows(flows.Client.REPLICATE, flows.Flow.WRONG_KEY)
def test_a_wrong_key_is_told_so(stack: Stack) -> None:
    with calling(stack, "r8_nonsense") as client, pytest.raises(ReplicateError) as fault:
        client.models.list()
    assert (fault.value.status, fault.value.title) == (401, "Unauthenticated")


def test_the_catalog_reads_as_replicates(client: Client) -> None:
    found = {model.id: model for model in client.models.list().results}
    assert {"kinora/glyph", "rehearsal/still", "rehearsal/clip"} <= found.keys()
    version = found["kinora/glyph"].latest_version
    assert version is not None
    inputs = version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert inputs["prompt"]["x-order"] == 0
    family = {"kinora/glyph", "kinora/glyph-motion", "kinora/glyph-upscale"}
    assert {m.id for m in client.models.search("glyph").results} == family
    slugs = {collection.slug for collection in client.collections.list()}
    assert {"text-to-image", "text-to-video"} <= slugs
    assert [m.id for m in client.collections.get("text-to-video").models or []]
    assert "labs" in {sku.sku for sku in client.hardware.list()}
    assert client.accounts.current().name == "Demo studio"
    assert client.deployments.get("kinora/glyph").current_release is not None


def test_a_deployment_predicts(client: Client) -> None:
    made = client.deployments.predictions.create("rehearsal/still", input=STILL)
    made.wait()
    assert made.status == "succeeded"


@flows.shows(flows.Client.REPLICATE, flows.Flow.SMALL)
def test_a_file_goes_along_and_is_read_back(client: Client, tmp_path: Path) -> None:
    picture = tmp_path / "first.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    kept = client.files.create(picture)
    assert (kept.name, kept.content_type, kept.size) == (
        "first.png",
        "image/png",
        picture.stat().st_size,
    )
    assert client.files.get(kept.id).checksums == kept.checksums
    with picture.open("rb") as file:
        asked = {"image": file, "seconds": 1, "latency_ms": 0}
        assert "/media/" in str(client.run("rehearsal/animate", input=asked))
    assert client.files.delete(kept.id)
    with pytest.raises(ReplicateError) as fault:
        client.files.get(kept.id)
    assert fault.value.status == 404


@flows.shows(flows.Client.REPLICATE, flows.Flow.WEBHOOK)
def test_webhooks_tell_a_prediction_as_the_client_verifies_them(client: Client) -> None:
    with receiving() as hooks:
        made = client.models.predictions.create(
            "rehearsal/still",
            input=STILL,
            webhook=hooks.url(),
            webhook_events_filter=["start", "completed"],
        )
        told = hooks.wait(2)
    secret = client.webhooks.default.secret()
    for one in told:
        Webhooks.validate(headers=one.headers, body=one.body.decode(), secret=secret)
    assert {one.json["id"] for one in told} == {made.id}
    assert told[-1].json["status"] == "succeeded"
    assert told[0].id != told[1].id


def test_the_asynchronous_verbs_run_stream_list_and_keep_files(client: Client) -> None:
    async def all_of_it() -> tuple[Any, list[str], int, str]:
        try:
            found = await client.async_run("rehearsal/still", input=STILL)
            events = [
                event.event.value
                async for event in await client.async_stream("rehearsal/still", input=STILL)
            ]
            page = await client.predictions.async_list()
            kept = await client.files.async_create(io.BytesIO(samples.picture()))
            await client.files.async_delete(kept.id)
            return found, events, len(page.results), kept.content_type
        finally:
            await client._async_client.aclose()

    found, events, listed, kind = asyncio.run(all_of_it())
    assert str(found[0]).startswith("http://127.0.0.1:")
    assert events[-2:] == ["output", "done"]
    assert listed >= 2
    assert kind == "image/png"


def test_nothing_is_trained_here(client: Client) -> None:
    version = client.models.get("rehearsal/still").latest_version
    assert version
    assert client.trainings.list().results == []
    with pytest.raises(ReplicateError, match="Kinora trains no models for others") as fault:
        client.trainings.create(
            version=f"rehearsal/still:{version.id}", input={}, destination="ada/own"
        )
    assert fault.value.status == 403
    for call in (client.trainings.get, client.trainings.cancel):
        with pytest.raises(ReplicateError) as fault:
            call("zz4ibbonubfz7carwiefibzgga")
        assert fault.value.status == 404
