"""fal's official Python client, unmodified, against the running stack."""

import asyncio
import base64
import gc
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fal_client
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fal_client import AsyncClient, Completed, InProgress, Queued, SyncClient
from fal_client.client import FalClientHTTPError, FalClientTimeoutError, RealtimeError
from PIL import Image

from marketplace.dialects.fal_bodies import refused
from marketplace.errors import Busy
from tests.journeys.clients.flows import Client, Flow, shows
from tests.journeys.clients.gate import gate
from tests.marketplace.media import samples
from tests.receiver import receiving
from tests.running import ROOT, Stack

# Its uploads leave connections open, which end with the garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

STILL, CLIP, GLYPH = "rehearsal/still", "rehearsal/clip", "kinora/glyph"
QUICK: dict[str, Any] = {"prompt": "a paper lantern", "latency_ms": 0}
SMALL = {"prompt": "tomato", "num_inference_steps": 4, "image_size": 64}


def redirect(patch: pytest.MonkeyPatch, url: str) -> None:
    """The five assignments that `docs/clients.md` shows."""
    constants = {
        "RUN_URL_FORMAT": f"{url}/fal/run/",
        "QUEUE_URL_FORMAT": f"{url}/fal/queue/",
        "REALTIME_URL_FORMAT": f"{url.replace('http', 'ws', 1)}/fal/run/",
        "REST_URL": f"{url}/fal/rest",
        "CDN_URL": f"{url}/fal/cdn",
    }
    for name, value in constants.items():
        patch.setattr(fal_client.client, name, value)


@contextmanager
def calling(key: str) -> Iterator[SyncClient]:
    """A client whose connections are closed; it has no verb for that."""
    client = SyncClient(key=key)
    try:
        yield client
    finally:
        client._client.close()
        del client
        gc.collect()


@pytest.fixture
def fal(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncClient]:
    redirect(monkeypatch, stack.url)
    with calling(stack.key) as client:
        yield client


def size_of(url: str) -> tuple[int, int]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return Image.open(io.BytesIO(answer.read())).size


def runs_with(stack: Stack, prompt: str) -> list[tuple[str, int]]:
    """State and captured amount of the runs with this prompt."""
    with psycopg.connect(stack.conninfo) as link:
        return link.execute(
            "SELECT r.state, h.captured FROM runs_run r JOIN ledger_hold h ON h.run_id = r.id"
            " WHERE r.inputs ->> 'prompt' = %s",
            [prompt],
        ).fetchall()


# ── success ───────────────────────────────────────────────────────────────────────────────────


@shows(Client.FAL, Flow.SUCCESS)
def test_run_gives_pictures_of_the_size_that_was_asked_for(fal: SyncClient) -> None:
    asked = {**QUICK, "image_size": {"width": 256, "height": 256}, "num_images": 2, "seed": 3}
    found = fal.run(STILL, asked)
    assert [size_of(image["url"]) for image in found["images"]] == [(256, 256)] * 2
    assert (found["seed"], found["prompt"]) == (3, "a paper lantern")


@shows(Client.FAL, Flow.SUCCESS)
def test_subscribe_tells_of_the_queue_and_gives_a_clip(fal: SyncClient) -> None:
    seen: list[fal_client.Status] = []
    found = fal.subscribe(
        CLIP,
        {"prompt": "dusk", "duration": "1s", "fps": 8, "resolution": "180p", "latency_ms": 600},
        with_logs=True,
        on_queue_update=seen.append,
        priority="low",
    )
    assert {"width": 320, "height": 180, "duration": 1.0, "fps": 8}.items() <= found[
        "video"
    ].items()
    assert isinstance(seen[-1], Completed)
    assert any(isinstance(status, InProgress) for status in seen)
    assert seen[-1].logs
    assert seen[-1].logs[-1]["message"] == "Succeeded."
    assert seen[-1].metrics["inference_time"] > 0.5


def test_submit_follow_and_get_with_a_handle_from_the_id_alone(fal: SyncClient) -> None:
    handle = fal.submit(STILL, {**QUICK, "latency_ms": 500})
    kinds = {type(status) for status in handle.iter_events(with_logs=True, interval=0.05)}
    assert kinds <= {Queued, InProgress, Completed}
    assert Completed in kinds
    again = fal.get_handle(STILL, handle.request_id)
    assert again.get()["images"]
    assert fal.result(STILL, handle.request_id)["prompt"] == "a paper lantern"
    assert isinstance(fal.status(STILL, handle.request_id), Completed)


@shows(Client.FAL, Flow.STREAM)
def test_a_stream_shows_the_picture_coming_and_ends_with_it(fal: SyncClient) -> None:
    events = list(fal.stream(GLYPH, {**SMALL, "num_inference_steps": 20}))
    assert events[-1]["images"][0]["url"].startswith("http")
    assert size_of(events[-1]["images"][0]["url"]) == (64, 64)
    assert all(event["partial"] for event in events[:-1])


def test_the_asynchronous_client_runs_and_subscribes(fal: SyncClient, stack: Stack) -> None:
    async def both() -> list[Any]:
        client = AsyncClient(key=stack.key)
        try:
            return await asyncio.gather(client.run(STILL, QUICK), client.subscribe(GLYPH, SMALL))
        finally:
            await (await client._client).aclose()

    assert [len(found["images"]) for found in asyncio.run(both())] == [1, 1]


def test_a_realtime_session_answers_each_prompt_with_a_frame(fal: SyncClient) -> None:
    with fal.realtime(GLYPH) as session:
        for prompt in ("tomato", "red heart"):
            session.send({**SMALL, "prompt": prompt})
            told = session.recv() or {}
            assert told["prompt"] == prompt
            picture = Image.open(io.BytesIO(told["images"][0]["content"]))
            assert picture.size == (64, 64)
        session.send({**SMALL, "num_inference_steps": 999})
        with pytest.raises(RealtimeError, match="at most 50"):
            session.recv()


def test_a_realtime_session_with_a_key_and_without_a_token(fal: SyncClient, stack: Stack) -> None:
    async def talk() -> dict[str, Any]:
        client = AsyncClient(key=stack.key)
        try:
            async with client.realtime(GLYPH, use_jwt=False) as session:
                await session.send(SMALL)
                return await session.recv() or {}
        finally:
            await (await client._client).aclose()

    assert asyncio.run(talk())["images"][0]["content"].startswith(b"\x89PNG")


@shows(Client.FAL, Flow.WEBHOOK)
def test_a_webhook_comes_signed_as_receivers_of_fals_check_it(
    fal: SyncClient, stack: Stack
) -> None:
    with receiving() as receiver:
        handle = fal.submit(STILL, QUICK, webhook_url=receiver.url())
        [told] = receiver.wait(1)
    with urllib.request.urlopen(f"{stack.url}/.well-known/jwks.json", timeout=10) as answer:
        [key] = json.load(answer)["keys"]
    names = ("request-id", "user-id", "timestamp")
    lines = [told.headers[f"x-fal-webhook-{name}"] for name in names]
    message = "\n".join([*lines, hashlib.sha256(told.body).hexdigest()]).encode()
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"] + "=="))
    public.verify(bytes.fromhex(told.headers["x-fal-webhook-signature"]), message)
    assert (told.json["status"], told.json["request_id"]) == ("OK", handle.request_id)
    assert told.json["payload"]["prompt"] == "a paper lantern"


def test_the_docs_session_runs_as_it_stands(stack: Stack, tmp_path: Path) -> None:
    section = (ROOT / "docs" / "clients.md").read_text().split("## fal\n")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
    code = lines.replace("127.0.0.1:8000", stack.url.removeprefix("http://"))
    environ = os.environ | {"KINORA_API_KEY": stack.key}
    call = [sys.executable, "-W", "ignore", "-c", code]
    subprocess.run(call, cwd=tmp_path, env=environ, timeout=90, check=True, capture_output=True)
    assert Image.open(tmp_path / "frame.png").size == (256, 256)


# ── failure ───────────────────────────────────────────────────────────────────────────────────


@shows(Client.FAL, Flow.FAILURE)
@pytest.mark.parametrize(
    ("behaviour", "status", "kind", "text"),
    [
        ("refuse", 422, "content_policy_violation", "The lab does not draw this."),
        ("fail", 500, "runner_server_error", "The lab failed to draw this."),
    ],
)
def test_a_failure_raises_with_the_labs_words_and_costs_nothing(
    fal: SyncClient, stack: Stack, behaviour: str, status: int, kind: str, text: str
) -> None:
    asked = {**QUICK, "prompt": f"to {behaviour}", "behaviour": behaviour}
    with pytest.raises(FalClientHTTPError) as fault:
        fal.subscribe(STILL, asked)
    assert (fault.value.status_code, fault.value.error_type) == (status, kind)
    message: Any = fault.value.message
    assert (message[0]["msg"] if isinstance(message, list) else message) == text
    assert runs_with(stack, f"to {behaviour}") == [("failed", 0)]


@shows(Client.FAL, Flow.WRONG_INPUT)
def test_wrong_arguments_are_listed_with_their_places(fal: SyncClient) -> None:
    for call in (fal.run, fal.submit):
        with pytest.raises(FalClientHTTPError) as fault:
            call(STILL, {**QUICK, "num_images": 9})
        listed: Any = fault.value.message
        [problem] = listed
        assert fault.value.status_code == 422
        assert (problem["loc"], problem["type"]) == (["body", "num_images"], "less_than_equal")


@shows(Client.FAL, Flow.CANCEL, Flow.CANCEL_AGAIN)
def test_cancelling_and_cancelling_again(fal: SyncClient, stack: Stack) -> None:
    handle = fal.submit(STILL, {**QUICK, "prompt": "to cancel", "latency_ms": 20_000})
    handle.cancel()
    while not isinstance(told := handle.status(), Completed):
        time.sleep(0.05)
    assert told.error_type == "client_cancelled"
    with pytest.raises(FalClientHTTPError) as late:
        handle.cancel()
    assert (late.value.status_code, late.value.response.json()["status"]) == (
        400,
        "ALREADY_COMPLETED",
    )
    with pytest.raises(FalClientHTTPError) as gone:
        handle.get()
    assert (gone.value.status_code, gone.value.error_type) == (499, "client_cancelled")
    assert runs_with(stack, "to cancel") == [("cancelled", 0)]


@shows(Client.FAL, Flow.LATE)
def test_a_wait_that_runs_out_cancels_the_run(fal: SyncClient, stack: Stack) -> None:
    asked = {**QUICK, "prompt": "to wait for", "latency_ms": 20_000}
    with pytest.raises(FalClientTimeoutError) as late:
        fal.subscribe(STILL, asked, client_timeout=1.5, start_timeout=1.2)
    handle = fal.get_handle(STILL, late.value.request_id or "")
    while not isinstance(handle.status(), Completed):
        time.sleep(0.05)
    assert runs_with(stack, "to wait for") == [("cancelled", 0)]


@shows(Client.FAL, Flow.WRONG_KEY, Flow.STRANGER)
def test_a_wrong_key_and_another_teams_run(fal: SyncClient, stack: Stack) -> None:
    with calling(stack.key[:-1] + "!") as forged, pytest.raises(FalClientHTTPError) as wrong:
        forged.run(STILL, QUICK)
    assert (wrong.value.status_code, wrong.value.error_type) == (401, "not_authenticated")
    handle = fal.submit(STILL, QUICK)
    nobodys = "run_01m7x3yvyte9sagyvwwf6hge6p"
    told = []
    with calling(stack.other_key) as stranger:
        for run in (handle.request_id, nobodys):
            with pytest.raises(FalClientHTTPError) as fault:
                stranger.status(STILL, run)
            told.append((fault.value.status_code, fault.value.response.text.replace(run, "")))
    assert told[0] == told[1]
    assert told[0][0] == 404
    handle.get()


# ── limits and losses ─────────────────────────────────────────────────────────────────────────


def test_it_tries_ten_times_while_we_are_busy(
    fal: SyncClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = refused(Busy("Too many runs are being started. Try again.", retry_after=1))
    busy = reply.status, dict(reply.headers), b'{"detail": "busy"}'
    monkeypatch.setattr(fal_client.client, "BASE_DELAY", 0.001)
    with gate(stack.url) as between:
        redirect(monkeypatch, between.url)
        between.answers = [busy] * 9
        assert fal.run(STILL, QUICK)["images"]
        assert len(between.seen) == 10
        between.answers = [busy] * 10
        with pytest.raises(FalClientHTTPError) as fault:
            fal.run(STILL, QUICK)
        assert (fault.value.status_code, len(between.seen)) == (429, 20)


def test_a_reply_lost_before_it_is_ready_does_not_make_a_second_run(
    fal: SyncClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "lost on the way"
    with gate(stack.url) as between:
        redirect(monkeypatch, between.url)
        between.lose, between.after = 1, 0.15
        asked = {**QUICK, "prompt": prompt, "latency_ms": 500}
        assert fal.run(STILL, asked)["prompt"] == prompt
        assert [line.split()[0] for line in between.seen[:2]] == ["POST", "POST"]
    assert runs_with(stack, prompt) == [("succeeded", 2_000_000)]


# ── uploads ───────────────────────────────────────────────────────────────────────────────────


@shows(Client.FAL, Flow.SMALL)
@pytest.mark.parametrize("repository", ["fal_v3", "fal"])
def test_a_small_picture_is_uploaded_each_way(fal: SyncClient, repository: Any) -> None:
    url = fal.upload_image(Image.new("RGB", (40, 30)), "png", repository=repository)
    assert size_of(url) == (40, 30)


def test_a_picture_is_given_by_its_upload_or_inside_the_request(fal: SyncClient) -> None:
    picture = Image.new("RGB", (320, 180), (200, 90, 30))
    short = {"duration": 1, "fps": 8, "resolution": "180p", "latency_ms": 0}
    for url in (fal.upload_image(picture, "png"), fal_client.encode_image(picture, "png")):
        made = fal.run("rehearsal/animate", {"image_url": url, **short})
        assert (made["video"]["width"], made["video"]["duration"]) == (320, 1.0)


@shows(Client.FAL, Flow.LARGE)
def test_a_sound_of_120_megabytes_goes_up_in_parts(fal: SyncClient, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.writelines(samples.wav(115))
    url = fal.upload_file(large, fallback_repository=[])
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("audio/")
        assert int(answer.headers["Content-Length"]) == large.stat().st_size > 120_000_000
