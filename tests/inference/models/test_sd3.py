"""Stable Diffusion 3.5: the same pictures as diffusers' own pipeline."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)

from inference.models.sd3 import StableDiffusion3
from tests.inference.models import tiny
from tests.inference.models.walking import latents, pictures, same_pictures

INPUTS = {"prompt": "a red heart", "width": 32, "height": 48, "steps": 5, "seed": 7, "count": 1}


def pipeline(*, long: bool = True, dynamic: bool = False) -> Any:
    with tiny.seeded():
        network = SD3Transformer2DModel(
            sample_size=32, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=4, joint_attention_dim=96, caption_projection_dim=32,
            pooled_projection_dim=64, out_channels=4, pos_embed_max_size=512, qk_norm="rms_norm",
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=1,
            use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609,
            scaling_factor=1.5035, sample_size=32,
        )  # fmt: skip
    read = {"text_encoder_3": tiny.t5_encoder(96), "tokenizer_3": tiny.t5_tokenizer()}
    return StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic),
        vae=tiny.stirred(vae), transformer=tiny.stirred(network),
        text_encoder=tiny.clip_encoder(projected=True), tokenizer=tiny.clip_tokenizer(),
        text_encoder_2=tiny.clip_encoder(projected=True), tokenizer_2=tiny.clip_tokenizer(),
        **(read if long else dict.fromkeys(read)),
    )  # fmt: skip


def short() -> Any:
    return pipeline(long=False)


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent") -> Any:
    return pipe(
        inputs["prompt"], negative_prompt=inputs.get("negative_prompt", ""),
        width=inputs["width"], height=inputs["height"], num_inference_steps=inputs["steps"],
        guidance_scale=inputs.get("guidance", 3.5), output_type=output,
        generator=torch.Generator().manual_seed(inputs["seed"]),
    ).images  # fmt: skip


@pytest.fixture
def sd3(ours: Any) -> StableDiffusion3:
    model: StableDiffusion3 = ours("sd3", "sd3", pipeline)
    return model


@pytest.fixture
def pipe(theirs: Any) -> Any:
    return theirs("sd3", pipeline)


@pytest.mark.parametrize("told", [{}, {"negative_prompt": "blue"}, {"guidance": 1.0}])
def test_latents_are_those_of_diffusers(
    sd3: StableDiffusion3, pipe: Any, told: dict[str, Any]
) -> None:
    """Diffusers runs both branches as one batch, so bits are equal where ours are joined."""
    joined = latents(sd3, INPUTS | told, joined=True)[0]
    assert torch.equal(joined, expected(pipe, INPUTS | told))
    # Alone, the same sums are added up in another order.
    torch.testing.assert_close(latents(sd3, INPUTS | told)[0], joined, rtol=1e-4, atol=1e-4)


def test_pictures_are_those_of_diffusers(sd3: StableDiffusion3, pipe: Any) -> None:
    assert same_pictures(pictures(sd3, INPUTS, joined=True), expected(pipe, INPUTS, "pil"))


def test_a_folder_may_leave_t5_out(ours: Any, pipe: Any) -> None:
    model = ours("sd3", "sd3-short", short)
    assert "text_encoder_3" not in model.parts
    absent = {"text_encoder_3": None, "tokenizer_3": None}
    without = StableDiffusion3Pipeline(**pipe.components | absent)
    without.set_progress_bar_config(disable=True)
    told = expected(without, INPUTS)
    assert torch.equal(latents(model, INPUTS, joined=True)[0], told)
