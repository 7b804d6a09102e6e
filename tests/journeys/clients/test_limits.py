"""Clients under a limit: each waits as its authors meant it, and every run is made once."""

from collections.abc import Iterator

import openai
import pytest
from replicate.client import Client as Replicate
from replicate.exceptions import ReplicateError

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
        made = [
            client.images.with_raw_response.generate(
                model="rehearsal/still", prompt="a", response_format="url", extra_body=STILL
            )
            for _ in range(4)
        ]
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


def start(client: Replicate, *, times: int) -> None:
    for _ in range(times):
        client.models.predictions.create("rehearsal/still", input=STILL)
