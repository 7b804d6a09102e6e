"""FLUX.1: the same pictures as diffusers' own pipeline, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)

from inference.models.flux import Flux, pack, positions, unpack
from tests.inference.models import tiny
from tests.inference.models.walking import latents, pictures, same_pictures

INPUTS = {"prompt": "a red heart", "width": 32, "height": 48, "steps": 6, "seed": 7, "count": 1}


def pipeline(*, guided: bool = True) -> Any:
    with tiny.seeded():
        network = FluxTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8), guidance_embeds=guided,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=1,
            use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609,
            scaling_factor=1.5035, sample_size=32,
        )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=tiny.stirred(vae), transformer=tiny.stirred(network),
        text_encoder=tiny.clip_encoder(), tokenizer=tiny.clip_tokenizer(),
        text_encoder_2=tiny.t5_encoder(), tokenizer_2=tiny.t5_tokenizer(),
    )  # fmt: skip


def schnell() -> Any:
    return pipeline(guided=False)


def expected(pipe: Any, inputs: dict[str, Any], output: str, words: int = 512) -> Any:
    return pipe(
        inputs["prompt"], width=inputs["width"], height=inputs["height"],
        num_inference_steps=inputs["steps"], guidance_scale=inputs.get("guidance", 3.5),
        max_sequence_length=words, generator=torch.Generator().manual_seed(inputs["seed"]),
        output_type=output,
    ).images  # fmt: skip


@pytest.fixture
def flux(ours: Any) -> Flux:
    model: Flux = ours("flux", "flux", pipeline)
    return model


@pytest.fixture
def pipe(theirs: Any) -> Any:
    return theirs("flux", pipeline)


def test_latents_and_pictures_are_those_of_diffusers(flux: Flux, pipe: Any) -> None:
    assert torch.equal(latents(flux, INPUTS)[0], expected(pipe, INPUTS, "latent"))
    assert same_pictures(pictures(flux, INPUTS), expected(pipe, INPUTS, "pil"))


def test_guidance_is_read_by_the_network(flux: Flux, pipe: Any) -> None:
    strict = INPUTS | {"guidance": 7.0}
    assert torch.equal(latents(flux, strict)[0], expected(pipe, strict, "latent"))
    assert not torch.equal(latents(flux, strict)[0], latents(flux, INPUTS)[0])


def test_schnell_has_no_guidance_and_reads_256_tokens(ours: Any, theirs: Any) -> None:
    fast = ours("flux", "flux-schnell", schnell)
    properties = fast.sizes.inputs()["properties"]
    assert "guidance" not in properties
    assert properties["steps"]["default"] == 4
    told = expected(theirs("flux-schnell", schnell), INPUTS, "latent", words=256)
    assert torch.equal(latents(fast, INPUTS)[0], told)


def test_rotation_tables_are_made_once_per_size(flux: Flux) -> None:
    tables = flux.network.pos_embed.tables
    tables.clear()
    latents(flux, INPUTS)
    assert len(tables) == 1
    latents(flux, INPUTS | {"width": 48, "height": 32})  # as many tokens at other places
    assert len(tables) == 2
    assert torch.equal(latents(flux, INPUTS)[0], latents(flux, INPUTS)[0])


def test_packing_is_diffusers_own() -> None:
    latent = torch.randn(2, 4, 8, 12)
    packed = FluxPipeline._pack_latents(latent, 2, 4, 8, 12)
    assert torch.equal(pack(latent), packed)
    assert torch.equal(unpack(packed, 4, 6), latent)
    ids = FluxPipeline._prepare_latent_image_ids(1, 4, 6, "cpu", torch.float32)
    assert torch.equal(positions(4, 6, "cpu"), ids)
