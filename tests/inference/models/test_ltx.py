"""LTX-Video: the same clips as diffusers' own pipelines, with and without a first frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
)

from inference import media
from inference.models.ltx import LAST_NOISE, LAST_TIME, LTX
from tests.inference.models import tiny
from tests.inference.models.walking import latents, pictures, same_clip

INPUTS = {
    "prompt": "a red heart", "size": "64x96", "seconds": 1, "steps": 5, "seed": 7, "count": 1,
    "guidance": 3.0,
}  # fmt: skip
IMAGE = tiny.picture(64, 96)
SHOWN = INPUTS | {"image": media.data_uri(IMAGE)}


def parts(*, finishing: bool = False) -> dict[str, Any]:
    with tiny.seeded():
        network = LTXVideoTransformer3DModel(
            in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=12,
            cross_attention_dim=24, num_layers=1, caption_channels=32,
        )  # fmt: skip
        vae = AutoencoderKLLTXVideo(
            latent_channels=8, block_out_channels=(8, 8, 8, 8), layers_per_block=(1,) * 5,
            decoder_block_out_channels=(8, 8, 8, 8), decoder_layers_per_block=(1,) * 5,
            decoder_spatio_temporal_scaling=(True, True, True, False),
            timestep_conditioning=finishing,
        )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, max_shift=2.05, base_shift=0.95, shift_terminal=0.1
    )
    return {"scheduler": scheduler, "vae": tiny.stirred(vae), "transformer": tiny.stirred(network),
            "text_encoder": tiny.t5_encoder(), "tokenizer": tiny.t5_tokenizer()}  # fmt: skip


def pipeline() -> Any:
    return LTXPipeline(**parts())


def shown() -> Any:
    return LTXImageToVideoPipeline(**parts())


def finishing() -> Any:
    return LTXPipeline(**parts(finishing=True))


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent", **told: Any) -> Any:
    width, height = map(int, inputs["size"].split("x"))
    return pipe(
        prompt=inputs["prompt"], negative_prompt="", width=width, height=height,
        num_frames=inputs["seconds"] * 24 + 1, num_inference_steps=inputs["steps"], frame_rate=24,
        guidance_scale=inputs["guidance"], output_type=output, decode_timestep=LAST_TIME,
        decode_noise_scale=LAST_NOISE,
        generator=torch.Generator().manual_seed(inputs["seed"]), **told,
    ).frames  # fmt: skip


def packed(latent: torch.Tensor) -> torch.Tensor:
    return latent.flatten(2).mT


@pytest.fixture
def ltx(ours: Any) -> LTX:
    model: LTX = ours("ltx", "ltx", pipeline)
    return model


@pytest.mark.parametrize("told", [{}, {"guidance": 1.0}])
def test_latents_are_those_of_diffusers(ltx: LTX, theirs: Any, told: dict[str, Any]) -> None:
    """Diffusers runs both branches as one batch, so bits are equal where ours are joined."""
    joined = latents(ltx, INPUTS | told, joined=True)[0]
    assert torch.equal(packed(joined), expected(theirs("ltx", pipeline), INPUTS | told))
    # Alone, the same sums are added up in another order.
    torch.testing.assert_close(latents(ltx, INPUTS | told)[0], joined, rtol=1e-4, atol=1e-4)


def test_clips_are_those_of_diffusers(ltx: LTX, theirs: Any) -> None:
    clip = pictures(ltx, INPUTS, joined=True)[0]
    assert (tuple(clip.frames.shape), clip.fps) == ((25, 96, 64, 3), 24)
    assert same_clip(clip, expected(theirs("ltx", pipeline), INPUTS, "np")[0])


def test_a_first_frame_stays_in_place(ltx: LTX, theirs: Any) -> None:
    told = expected(theirs("ltx-shown", shown), SHOWN, image=IMAGE)
    made = latents(ltx, SHOWN, joined=True)[0]
    assert torch.equal(packed(made), told)
    start = ltx.prepare(SHOWN).pictures[0].latent
    assert torch.equal(start[:, :, 0], made[:, :, 0])
    assert not torch.equal(start[:, :, 1:], made[:, :, 1:])


def test_a_vae_that_denoises_is_told_how_much(ours: Any, theirs: Any) -> None:
    model = ours("ltx", "ltx-finishing", finishing)
    told = expected(theirs("ltx-finishing", finishing), INPUTS, "np")[0]
    assert same_clip(pictures(model, INPUTS, joined=True)[0], told)
