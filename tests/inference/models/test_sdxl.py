"""Stable Diffusion XL: the same pictures as diffusers' own pipeline."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from inference.models.sdxl import NAMES, StableDiffusionXL
from tests.inference.models import tiny
from tests.inference.models.walking import latents, pictures, same_pictures, walked

# diffusers' Euler scheduler hands a tensor to numpy in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
INPUTS = {"prompt": "a red heart", "width": 32, "height": 48, "steps": 5, "seed": 7, "count": 1}


def pipeline(**more: Any) -> Any:
    with tiny.seeded():
        network = UNet2DConditionModel(
            block_out_channels=(8, 16), layers_per_block=1, sample_size=128, norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4),
            use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=80, cross_attention_dim=64,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
            sample_size=32, scaling_factor=0.13025,
        )  # fmt: skip
    return StableDiffusionXLPipeline(
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            timestep_spacing="leading",
        ),
        vae=tiny.stirred(vae), unet=tiny.stirred(network),
        text_encoder=tiny.clip_encoder(), tokenizer=tiny.clip_tokenizer(),
        text_encoder_2=tiny.clip_encoder(projected=True), tokenizer_2=tiny.clip_tokenizer(),
        add_watermarker=False, **more,
    )  # fmt: skip


def embedded() -> Any:
    return pipeline(force_zeros_for_empty_prompt=False)


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent") -> Any:
    return pipe(
        inputs["prompt"], negative_prompt=inputs.get("negative_prompt") or None,
        width=inputs["width"], height=inputs["height"], num_inference_steps=inputs["steps"],
        guidance_scale=inputs.get("guidance", 5.0), output_type=output,
        generator=torch.Generator().manual_seed(inputs["seed"]),
    ).images  # fmt: skip


@pytest.fixture
def sdxl(ours: Any) -> StableDiffusionXL:
    model: StableDiffusionXL = ours("sdxl", "sdxl", pipeline)
    return model


@pytest.fixture
def pipe(theirs: Any) -> Any:
    return theirs("sdxl", pipeline)


@pytest.mark.parametrize(
    "told", [{}, {"negative_prompt": "blue"}, {"guidance": 1.0}], ids=["zeros", "words", "alone"]
)
def test_latents_are_those_of_diffusers(
    sdxl: StableDiffusionXL, pipe: Any, told: dict[str, Any]
) -> None:
    """Diffusers runs both branches as one batch, so bits are equal where ours are joined."""
    joined = latents(sdxl, INPUTS | told, joined=True)[0]
    assert torch.equal(joined, expected(pipe, INPUTS | told))
    # Alone, the same sums are added up in another order.
    torch.testing.assert_close(latents(sdxl, INPUTS | told)[0], joined, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_scheduler_walks_as_in_diffusers(
    sdxl: StableDiffusionXL, theirs: Any, name: str
) -> None:
    kinds = {
        "euler": EulerDiscreteScheduler, "euler a": EulerAncestralDiscreteScheduler,
        "dpm++ 2m": DPMSolverMultistepScheduler, "dpm++ 2m sde": DPMSolverMultistepScheduler,
    }  # fmt: skip
    plain, _, karras = name.partition(" karras") if name.endswith("karras") else (name, "", None)
    told: dict[str, Any] = {} if karras is None else {"use_karras_sigmas": True}
    told |= {"algorithm_type": "sde-dpmsolver++"} if plain.endswith("sde") else {}
    pipe = theirs("sdxl", pipeline)
    before = pipe.scheduler
    pipe.scheduler = kinds[plain].from_config(before.config, **told)
    try:
        wanted = expected(pipe, INPUTS)
    finally:
        pipe.scheduler = before
    work = walked(sdxl, INPUTS | {"scheduler": name}, joined=True)
    assert torch.equal(work.pictures[0].latent, wanted)
    clean = work.pictures[0].clean
    assert clean is not None
    assert clean.isfinite().all()


def test_schedulers_differ(sdxl: StableDiffusionXL) -> None:
    drawn = [latents(sdxl, INPUTS | {"scheduler": name})[0] for name in NAMES]
    assert not any(torch.equal(a, b) for a, b in combinations(drawn, 2))


def test_pictures_are_those_of_diffusers(sdxl: StableDiffusionXL, pipe: Any) -> None:
    assert same_pictures(pictures(sdxl, INPUTS, joined=True), expected(pipe, INPUTS, "pil"))


def test_an_empty_negative_prompt_is_embedded_where_the_folder_says_so(
    ours: Any, theirs: Any
) -> None:
    model = ours("sdxl", "sdxl-embedded", embedded)
    told = expected(theirs("sdxl-embedded", embedded), INPUTS)
    assert torch.equal(latents(model, INPUTS, joined=True)[0], told)


def test_the_vae_stays_in_float32() -> None:
    assert StableDiffusionXL.PARTS["vae"].wide
