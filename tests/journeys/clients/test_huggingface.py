"""The official InferenceClient of Hugging Face, unmodified, against the running stack."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError
from huggingface_hub.inference import _providers
from huggingface_hub.inference._providers import _common
from huggingface_hub.inference._providers.fal_ai import FalAIQueueTask

from tests.journeys.clients.flows import Client, Flow, shows
from tests.marketplace.media import samples
from tests.running import Stack


@pytest.fixture
def own_addresses(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `docs/clients.md` tells people to set."""
    monkeypatch.setattr(constants, "ENDPOINT", f"{stack.url}/hf")
    _common._fetch_inference_provider_mapping.cache_clear()
    for helper in _providers.PROVIDERS["fal-ai"].values():
        queued = isinstance(helper, FalAIQueueTask)
        base = f"{stack.url}/fal/{'queue' if queued else 'run'}"
        monkeypatch.setattr(helper, "base_url", base)
    for helper in _providers.PROVIDERS["replicate"].values():
        monkeypatch.setattr(helper, "base_url", f"{stack.url}/replicate")
    yield
    _common._fetch_inference_provider_mapping.cache_clear()


@shows(Client.HUGGING_FACE, Flow.SUCCESS)
def test_a_model_by_its_address(stack: Stack) -> None:
    with InferenceClient(f"{stack.url}/hf/models/kinora/glyph", token=stack.key) as client:
        made = client.text_to_image("tomato", width=256, height=256, num_inference_steps=4, seed=3)
    assert made.size == (256, 256)


@shows(Client.HUGGING_FACE, Flow.WRONG_INPUT)
def test_a_wrong_parameter_is_named(stack: Stack) -> None:
    with (
        InferenceClient(f"{stack.url}/hf/models/kinora/glyph", token=stack.key) as client,
        pytest.raises(HfHubHTTPError) as fault,
    ):
        client.text_to_image("tomato", width=300, height=300)
    assert fault.value.response.status_code == 400
    assert "32, 64, 128, 256, 512" in str(fault.value)


@pytest.mark.usefixtures("own_addresses")
@pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
def test_a_provider_finds_the_model_and_draws(stack: Stack, provider: str) -> None:
    with InferenceClient(provider=provider, api_key=stack.key) as client:  # type: ignore[arg-type]
        made = client.text_to_image("tomato", model="kinora/glyph", num_inference_steps=4)
    assert made.size == (256, 256)


@shows(Client.HUGGING_FACE, Flow.SUCCESS)
@pytest.mark.usefixtures("own_addresses")
def test_a_provider_makes_a_clip(stack: Stack) -> None:
    with InferenceClient(provider="fal-ai", api_key=stack.key) as client:
        made = client.text_to_video(
            "a", model="rehearsal/clip", extra_body={"seconds": 1, "latency_ms": 0}
        )
    assert made[4:8] == b"ftyp"


QUICK = {"latency_ms": 0}
SHORT = {"seconds": 1, "fps": 8, "resolution": "180p", **QUICK}
PICTURE = samples.picture("PNG", (320, 180), 40)


@pytest.mark.usefixtures("own_addresses")
@pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
def test_a_provider_edits_a_picture(stack: Stack, provider: Any) -> None:
    with InferenceClient(provider=provider, api_key=stack.key) as client:
        made = client.image_to_image(PICTURE, "in red", model="rehearsal/blend", **QUICK)
    assert made.size == (512, 512)


@shows(Client.HUGGING_FACE, Flow.SMALL)
def test_a_model_by_its_address_edits_a_picture_with_words_or_without(stack: Stack) -> None:
    with InferenceClient(f"{stack.url}/hf/models/rehearsal/blend", token=stack.key) as client:
        size: Any = {"width": 256, "height": 256}
        assert client.image_to_image(PICTURE, "in red", target_size=size).size == (256, 256)
        assert client.image_to_image(PICTURE).size == (512, 512)


@shows(Client.HUGGING_FACE, Flow.LARGE)
def test_a_picture_of_120_megabytes_is_edited_if_it_comes_alone(stack: Stack) -> None:
    """With words beside it the client makes it text inside JSON, which is refused beyond 16 MB."""
    heavy = samples.heavy_picture(115)
    assert len(heavy) > 120_000_000
    with InferenceClient(f"{stack.url}/hf/models/rehearsal/blend", token=stack.key) as client:
        assert client.image_to_image(heavy).size == (512, 512)
        with pytest.raises(HfHubHTTPError, match="larger than 16,000,000 bytes") as fault:
            client.image_to_image(heavy, "in red")
    assert fault.value.response.status_code == 413


@pytest.mark.usefixtures("own_addresses")
def test_a_provider_sets_a_picture_in_motion(stack: Stack) -> None:
    with InferenceClient(provider="fal-ai", api_key=stack.key) as client:
        made = client.image_to_video(PICTURE, model="rehearsal/animate", **SHORT)
    assert made[4:8] == b"ftyp"


@pytest.mark.usefixtures("own_addresses")
def test_the_other_provider_makes_a_clip_within_its_wait(stack: Stack) -> None:
    with InferenceClient(provider="replicate", api_key=stack.key) as client:
        made = client.text_to_video("a", model="rehearsal/clip", extra_body=SHORT)
    assert made[4:8] == b"ftyp"


@pytest.mark.usefixtures("own_addresses")
def test_without_a_provider_the_first_is_taken(stack: Stack) -> None:
    with InferenceClient(api_key=stack.key) as client:
        assert client.text_to_image("a", model="rehearsal/still", extra_body=QUICK).size


def test_the_asynchronous_client_draws(stack: Stack) -> None:
    async def draw() -> Any:
        address = f"{stack.url}/hf/models/rehearsal/still"
        async with AsyncInferenceClient(address, token=stack.key) as client:
            return await client.text_to_image("a", extra_body=QUICK)

    assert asyncio.run(draw()).size == (512, 512)


@shows(Client.HUGGING_FACE, Flow.FAILURE)
@pytest.mark.parametrize(("behaviour", "status"), [("refuse", 400), ("fail", 500)])
def test_a_failure_says_why(stack: Stack, behaviour: str, status: int) -> None:
    body = QUICK | {"behaviour": behaviour}
    with (
        InferenceClient(f"{stack.url}/hf/models/rehearsal/still", token=stack.key) as client,
        pytest.raises(HfHubHTTPError, match=r"The lab (does not|failed to) draw this") as fault,
    ):
        client.text_to_image("a", extra_body=body)
    assert fault.value.response.status_code == status


@pytest.mark.usefixtures("own_addresses")
def test_a_failure_at_a_provider_is_an_error_too(stack: Stack) -> None:
    """Neither provider looks at the status of a result; what is missing in it is what is raised."""
    body = SHORT | {"behaviour": "fail"}
    for provider, kind in (("fal-ai", KeyError), ("replicate", TimeoutError)):
        with (
            InferenceClient(provider=provider, api_key=stack.key) as client,  # type: ignore[arg-type]
            pytest.raises(kind),
        ):
            client.text_to_video("a", model="rehearsal/clip", extra_body=body)


@pytest.mark.usefixtures("own_addresses")
def test_a_model_for_another_task_or_none_at_all(stack: Stack) -> None:
    with InferenceClient(provider="fal-ai", api_key=stack.key) as client:
        with pytest.raises(ValueError, match="not supported for task text-to-video"):
            client.text_to_video("a", model="kinora/glyph")
        with pytest.raises(HfHubHTTPError) as fault:
            client.text_to_image("a", model="kinora/none")
    assert fault.value.response.status_code == 404


@shows(Client.HUGGING_FACE, Flow.LATE)
def test_a_wait_that_runs_out_is_the_callers_own(stack: Stack) -> None:
    address = f"{stack.url}/hf/models/rehearsal/still"
    with (
        InferenceClient(address, token=stack.key, timeout=0.7) as client,
        pytest.raises(InferenceTimeoutError),
    ):
        client.text_to_image("too late by far", extra_body={"latency_ms": 5000})


@shows(Client.HUGGING_FACE, Flow.WRONG_KEY)
@pytest.mark.usefixtures("own_addresses")
@pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
def test_a_wrong_key_is_told_so_by_each_provider(stack: Stack, provider: Any) -> None:
    with (
        InferenceClient(provider=provider, api_key="kin_live_nonsense") as client,
        pytest.raises(HfHubHTTPError) as fault,
    ):
        client.text_to_image("tomato", model="kinora/glyph")
    assert fault.value.response.status_code == 401


@shows(Client.HUGGING_FACE, Flow.WRONG_KEY)
def test_a_wrong_key_is_told_so(stack: Stack) -> None:
    with (
        InferenceClient(f"{stack.url}/hf/models/kinora/glyph", token="nonsense") as client,
        pytest.raises(HfHubHTTPError) as fault,
    ):
        client.text_to_image("tomato")
    assert fault.value.response.status_code == 401
