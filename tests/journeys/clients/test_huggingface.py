"""The official InferenceClient of Hugging Face, unmodified, against the running stack."""

from collections.abc import Iterator

import pytest
from huggingface_hub import InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.inference import _providers
from huggingface_hub.inference._providers import _common
from huggingface_hub.inference._providers.fal_ai import FalAIQueueTask

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


def test_a_model_by_its_address(stack: Stack) -> None:
    with InferenceClient(f"{stack.url}/hf/models/kinora/glyph", token=stack.key) as client:
        made = client.text_to_image("tomato", width=256, height=256, num_inference_steps=4, seed=3)
    assert made.size == (256, 256)


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


@pytest.mark.usefixtures("own_addresses")
def test_a_provider_makes_a_clip(stack: Stack) -> None:
    with InferenceClient(provider="fal-ai", api_key=stack.key) as client:
        made = client.text_to_video(
            "a", model="rehearsal/clip", extra_body={"seconds": 1, "latency_ms": 0}
        )
    assert made[4:8] == b"ftyp"


def test_a_wrong_key_is_told_so(stack: Stack) -> None:
    with (
        InferenceClient(f"{stack.url}/hf/models/kinora/glyph", token="nonsense") as client,
        pytest.raises(HfHubHTTPError) as fault,
    ):
        client.text_to_image("tomato")
    assert fault.value.response.status_code == 401
