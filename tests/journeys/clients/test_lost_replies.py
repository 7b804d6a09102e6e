"""Replies that get lost after they were sent: no client's own retries make a second run."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import httpx
import httpx2
import openai
import pytest
from huggingface_hub import InferenceClient
from replicate.client import Client as Replicate

from tests.journeys.clients.cutter import POINTS, Cutter, cutting
from tests.journeys.clients.node import told_by
from tests.journeys.clients.test_fal_python import calling, redirect, runs_with
from tests.running import Stack

ONE_RUN = [("succeeded", 2_000_000)]
MODEL = "rehearsal/still"
Call = Callable[[Cutter, str, str], Any]


def wish(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "latency_ms": 0}


def fal_run(between: Cutter, key: str, prompt: str) -> Any:
    with pytest.MonkeyPatch.context() as patch, calling(key) as client:
        redirect(patch, between.url)
        return client.run(MODEL, wish(prompt))


def fal_submit(between: Cutter, key: str, prompt: str) -> Any:
    with pytest.MonkeyPatch.context() as patch, calling(key) as client:
        redirect(patch, between.url)
        return client.submit(MODEL, wish(prompt)).get()


def openai_generate(between: Cutter, key: str, prompt: str) -> Any:
    with openai.OpenAI(api_key=key, base_url=f"{between.url}/v1") as client:
        return client.images.generate(
            model=MODEL, prompt=prompt, response_format="url", extra_body={"latency_ms": 0}
        )


def replicate_predict(between: Cutter, key: str, prompt: str) -> Any:
    client = Replicate(api_token=key, base_url=f"{between.url}/replicate")
    with closing(client._client):
        return client.models.predictions.create(MODEL, input=wish(prompt), wait=True)


def huggingface_draw(between: Cutter, key: str, prompt: str) -> Any:
    with InferenceClient(f"{between.url}/hf/models/{MODEL}", token=key) as client:
        return client.text_to_image(prompt, extra_body={"latency_ms": 0})


BROKEN = (httpx.TransportError, httpx2.TransportError)
RETRYING: list[Call] = [fal_run, fal_submit, openai_generate]
ONCE: list[Call] = [replicate_predict, huggingface_draw]


def named(call: Call) -> str:
    return call.__name__.replace("_", " ")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("call", RETRYING, ids=named)
def test_a_client_that_tries_again_gets_the_run_of_its_first_try(
    stack: Stack, call: Call, point: str
) -> None:
    prompt = f"{named(call)} lost at {point}"
    with cutting(stack.url, point) as between:
        assert call(between, stack.key, prompt)
    assert between.posts == 2 or point == "whole"
    assert runs_with(stack, prompt) == ONE_RUN


@pytest.mark.parametrize("call", ONCE, ids=named)
def test_a_client_that_does_not_try_again_made_one_run(stack: Stack, call: Call) -> None:
    prompt = f"{named(call)} lost"
    with cutting(stack.url, "half") as between, pytest.raises(BROKEN):
        call(between, stack.key, prompt)
    assert between.posts == 1
    assert len(runs_with(stack, prompt)) == 1


@pytest.mark.parametrize("how", ["close", "mute"])
def test_a_client_that_says_that_it_tries_again_is_believed(stack: Stack, how: str) -> None:
    """However politely the connection ended, or if it never did."""
    prompt = f"openai generate {how}"
    with cutting(stack.url, "nothing", how) as between:
        assert openai_generate(between, stack.key, prompt)
    assert between.posts == 2
    assert runs_with(stack, prompt) == ONE_RUN


@pytest.mark.parametrize("call", RETRYING + ONCE, ids=named)
def test_who_asks_twice_on_purpose_gets_two_runs(stack: Stack, call: Call) -> None:
    """One after the other over a client of its own, then at the same time."""
    prompt = f"{named(call)} on purpose"
    with cutting(stack.url) as between:
        between.cuts = 0
        for _ in range(2):
            call(between, stack.key, prompt)
        with ThreadPoolExecutor(2) as hands:
            list(hands.map(lambda _: call(between, stack.key, prompt), range(2)))
    assert runs_with(stack, prompt) == ONE_RUN * 4


Tries = dict[str, tuple[str, str, Cutter]]


def told_in_javascript(stack: Stack, tries: Tries) -> dict[str, str]:
    """Prompt → what the caller got."""
    asked = [
        {"client": client, "url": between.url, "prompt": prompt}
        for prompt, (client, _, between) in tries.items()
    ]
    return dict(zip(tries, told_by("lost.mjs", stack, json.dumps(asked)), strict=True))


JAVASCRIPT = ("run", "submit", "predict", "generate")


@pytest.mark.node
def test_the_javascript_clients_get_the_run_of_their_first_try(stack: Stack) -> None:
    with ExitStack() as open_doors:
        tries = {
            f"javascript {client} lost at {point}": (
                client,
                point,
                open_doors.enter_context(cutting(stack.url, point)),
            )
            for client in JAVASCRIPT
            for point in POINTS
        }
        told = told_in_javascript(stack, tries)
    for prompt, (client, point, between) in tries.items():
        assert len(runs_with(stack, prompt)) == 1, prompt
        if between.posts > 1 or point == "nothing":
            assert (told[prompt], between.posts) == ("done", 2), (client, prompt)
