"""Clients under a limit: each waits as its authors meant it, and every run is made once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from replicate.client import Client as Replicate
from replicate.exceptions import ReplicateError

from tests.journeys.clients.node import told_by
from tests.journeys.clients.test_fal_python import calling, redirect
from tests.running import Stack, running_stack

STILL = {"prompt": "a", "latency_ms": 0}


@pytest.fixture(scope="module")
def tight() -> Iterator[Stack]:
    """Two requests at once, then one a second."""
    with running_stack(
        KINORA_WRITES_PER_SECOND="1",
        KINORA_WRITE_BURST="2",
        KINORA_READS_PER_SECOND="1",
        KINORA_READ_BURST="2",
    ) as stack:
        yield stack


def test_openais_client_waits_and_succeeds(tight: Stack) -> None:
    with openai.OpenAI(api_key=tight.key, base_url=f"{tight.url}/v1") as client:
        draw = partial(
            client.images.with_raw_response.generate,
            model="rehearsal/still",
            prompt="a",
            response_format="url",
            extra_body=STILL,
        )
        with ThreadPoolExecutor(4) as hands:
            made = list(hands.map(lambda _: draw(), range(4)))
    assert [reply.status_code for reply in made] == [200] * 4
    assert made[0].headers["x-ratelimit-limit-requests"] == "2"
    assert {reply.retries_taken for reply in made} >= {1}


def test_replicates_client_waits_for_reads_and_is_told_of_writes(tight: Stack) -> None:
    client = Replicate(api_token=tight.other_key, base_url=f"{tight.url}/replicate")
    try:
        assert len({len(client.models.list().results) for _ in range(5)}) == 1
        with pytest.raises(ReplicateError) as fault:
            start(client, times=4)
    finally:
        client._client.close()
    assert fault.value.status == 429


def test_fals_client_tries_again_by_itself(tight: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    redirect(monkeypatch, tight.url)
    with calling(tight.key) as client:
        ids = [client.submit("rehearsal/still", STILL | {"seed": n}).request_id for n in range(4)]
    assert len(set(ids)) == 4


def test_hugging_faces_client_tells_its_caller(tight: Stack) -> None:
    address = f"{tight.url}/hf/models/rehearsal/still"
    with (
        InferenceClient(address, token=tight.other_key) as client,
        ThreadPoolExecutor(4) as hands,
        pytest.raises(HfHubHTTPError) as fault,
    ):
        list(hands.map(partial(client.text_to_image, extra_body={"latency_ms": 0}), "abcd"))
    assert fault.value.response.status_code == 429
    assert int(fault.value.response.headers["retry-after"]) >= 1


# ── JavaScript ────────────────────────────────────────────────────────────────────────────────

Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(tight: Stack) -> Told:
    """Client → what its calls came to, and the statuses that it saw."""
    found: Told = told_by("limits.mjs", tight)
    return found


@pytest.mark.node
@pytest.mark.parametrize("client", ["fal", "openai"])
def test_in_javascript_it_comes_back_and_succeeds(told: Told, client: str) -> None:
    found, statuses = told[client]["found"], told[client]["statuses"]
    assert len([call["value"] for call in found]) == 4
    assert (statuses.count(200), 429 in statuses) == (4, True)


@pytest.mark.node
def test_replicates_knocks_six_times_and_is_let_in_when_it_would_have_been(told: Told) -> None:
    found, statuses = told["replicate"]["found"], told["replicate"]["statuses"]
    assert len({call["value"] for call in found if "value" in call}) == 3
    assert [call for call in found if "value" not in call] == [{"name": "ApiError", "status": 429}]
    assert (sorted(statuses), statuses[-1]) == ([*[201] * 3, *[429] * 6], 201)


def start(client: Replicate, *, times: int) -> None:
    for _ in range(times):
        client.models.predictions.create("rehearsal/still", input=STILL)
