"""VAEs of video decode on plans with eager's bits, at any size and in any layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLQwenImage, AutoencoderKLWan
from torch import Tensor, nn

from inference.compiler.backend import accelerate, repeated
from inference.compiler.families import draw
from inference.compiler.joined import Activated
from inference.compiler.serving import GRAPHS, decoders
from tests.inference.compiler.test_replay import compare

CACHED = {
    "base_dim": 8, "z_dim": 4, "dim_mult": [1, 2], "num_res_blocks": 1,
    "temperal_downsample": [True],
}  # fmt: skip


@pytest.fixture(autouse=True)
def graphs() -> Iterator[None]:
    """As many graphs of one class as a worker allows."""
    with torch._dynamo.config.patch(recompile_limit=GRAPHS):
        yield


def wan() -> nn.Module:
    return AutoencoderKLWan(**CACHED, latents_mean=[0.1] * 4, latents_std=[1.7] * 4)


def qwen() -> nn.Module:
    return AutoencoderKLQwenImage(**CACHED, latents_mean=[0.1] * 4, latents_std=[1.7] * 4)


def ltx(**told: object) -> nn.Module:
    plain = {
        "latent_channels": 4, "block_out_channels": (8, 8, 16, 16), "layers_per_block": (1,) * 5,
        "decoder_block_out_channels": (8, 8, 16, 16), "decoder_layers_per_block": (1,) * 5,
        "decoder_spatio_temporal_scaling": (True, True, True, False),
    }  # fmt: skip
    return AutoencoderKLLTXVideo(**plain | told)


MAKERS = {"wan": wan, "qwen": qwen, "ltx": ltx}
BLOCKS = {"wan": "Activated", "qwen": "Activated", "ltx": "LTXVideoResnetBlock3d"}
ONE, TWO = ("channel_norm_silu", 1), ("channel_norm_silu", 2)
# A layer norm comes before the shortcut between widths.
FOUND = {"wan": {(ONE,)}, "qwen": {(ONE,)}, "ltx": {(TWO,), (TWO, ("norm", 1))}}
HALF, FULL = torch.bfloat16, torch.float32
EVEN = {"decoder_block_out_channels": (8,) * 4}


def built(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    module = make().eval().requires_grad_(False).to(dtype)
    draw(module)
    return module


def clips(dtype: torch.dtype) -> list[Tensor]:
    """Latents of three sizes, the second with channels last."""
    torch.manual_seed(1)
    first, second, third = (
        torch.randn(1, 4, *size).to(dtype) for size in [(3, 2, 4), (3, 4, 2), (2, 3, 3)]
    )
    return [first, second.to(memory_format=torch.channels_last_3d), third]


@pytest.mark.parametrize("dtype", [HALF, FULL], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_a_video_vae_decodes_on_plans_with_eagers_bits(name: str, dtype: torch.dtype) -> None:
    vae = built(MAKERS[name], dtype)
    assert repeated(vae) == {BLOCKS[name]}
    with torch.no_grad():
        eager = [vae.decode(one)[0] for one in clips(dtype)]
        compiler = accelerate(vae)
        ours = [vae.decode(one)[0] for one in clips(dtype)]
    assert all(one.isfinite().all() for one in eager)
    assert all(map(torch.equal, ours, eager))
    assert compiler.summary()["name"] == "templates"
    counts = {tuple(plan.report.templates.items()) for plan in compiler.plans}
    assert counts == FOUND[name]
    if dtype == HALF:
        compare(f"{name}-vae", compiler.plans[0])


@pytest.mark.parametrize("name", ["wan", "qwen"])
def test_every_norm_before_an_activation_is_joined_once(name: str) -> None:
    vae = built(MAKERS[name], FULL)
    accelerate(vae)
    first = [one for one in vae.modules() if isinstance(one, Activated)]
    # Two of each residual block, of which there are 4 in the encoder and 6 in the decoder, and
    # one at the end of each.
    assert len(first) == 2 * 10 + 2
    accelerate(vae)
    assert [one for one in vae.modules() if isinstance(one, Activated)] == first
    assert repeated(vae) == {"Activated"}


def test_a_norm_that_a_time_modulates_is_planned_without_its_activation() -> None:
    vae = built(lambda: ltx(**EVEN, timestep_conditioning=True), HALF)
    given, when = clips(HALF)[0], torch.tensor([0.05], dtype=HALF)
    with torch.no_grad():
        eager = vae.decode(given, when)[0]
        compiler = accelerate(vae)
        assert torch.equal(vae.decode(given, when)[0], eager)
    assert compiler.plans
    assert all(plan.report.templates == {"channel_norm_silu": 2} for plan in compiler.plans)


def test_a_block_that_draws_noise_stays_eager() -> None:
    told = EVEN | {"decoder_inject_noise": (True,) * 5}
    vae = built(lambda: ltx(**told), FULL)
    given = clips(FULL)[0]
    with torch.no_grad():
        torch.manual_seed(2)
        eager = vae.decode(given)[0]
        compiler = accelerate(vae)
        torch.manual_seed(2)
        assert torch.equal(vae.decode(given)[0], eager)
    assert not compiler.plans


def test_a_worker_plans_them() -> None:
    class Family:
        vae = wan()

    assert decoders(Family()) == [Family.vae]
