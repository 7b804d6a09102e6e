"""HunyuanVideo: the same clips as diffusers' own pipeline, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

from inference.models.hunyuan import TEMPLATE, TEMPLATE_TOKENS, HunyuanVideo
from tests.inference.models import tiny
from tests.inference.models.walking import latents, pictures, same_clip

INPUTS = {
    "prompt": "a red heart", "size": "64x32", "seconds": 1, "steps": 5, "seed": 7, "count": 1,
}  # fmt: skip


def pipeline() -> Any:
    with tiny.seeded():
        network = HunyuanVideoTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10,
            num_layers=1, num_single_layers=1, num_refiner_layers=1, patch_size=2, patch_size_t=1,
            guidance_embeds=True, text_embed_dim=32, pooled_projection_dim=32,
            rope_axes_dim=(2, 4, 4),
        )  # fmt: skip
        vae = AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(4, 4, 4, 4), layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4,
            up_block_types=("HunyuanVideoUpBlock3D",) * 4, mid_block_add_attention=True,
        )  # fmt: skip
    return HunyuanVideoPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=tiny.stirred(vae), transformer=tiny.stirred(network),
        text_encoder=tiny.llama_encoder(), tokenizer=tiny.llama_tokenizer(),
        text_encoder_2=tiny.clip_encoder(words=77), tokenizer_2=tiny.clip_tokenizer(words=77),
    )  # fmt: skip


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent") -> Any:
    width, height = map(int, inputs["size"].split("x"))
    pipe.vae.enable_tiling()
    return pipe(
        prompt=inputs["prompt"], width=width, height=height,
        num_frames=inputs["seconds"] * 24 + 1, num_inference_steps=inputs["steps"],
        guidance_scale=inputs.get("guidance", 6.0), output_type=output,
        generator=torch.Generator().manual_seed(inputs["seed"]),
    ).frames  # fmt: skip


@pytest.fixture
def hunyuan(ours: Any) -> HunyuanVideo:
    model: HunyuanVideo = ours("hunyuan", "hunyuan", pipeline)
    return model


@pytest.fixture
def pipe(theirs: Any) -> Any:
    return theirs("hunyuan", pipeline)


@pytest.mark.parametrize("told", [{}, {"guidance": 2.0}])
def test_latents_are_those_of_diffusers(
    hunyuan: HunyuanVideo, pipe: Any, told: dict[str, Any]
) -> None:
    assert torch.equal(latents(hunyuan, INPUTS | told)[0], expected(pipe, INPUTS | told))


def test_clips_are_those_of_diffusers(hunyuan: HunyuanVideo, pipe: Any) -> None:
    clip = pictures(hunyuan, INPUTS)[0]
    assert (tuple(clip.frames.shape), clip.fps) == ((25, 32, 64, 3), 24)
    assert same_clip(clip, expected(pipe, INPUTS, "np")[0])


def test_the_template_is_diffusers_own() -> None:
    assert DEFAULT_PROMPT_TEMPLATE == {"template": TEMPLATE, "crop_start": TEMPLATE_TOKENS}


def test_rotation_tables_are_made_once_per_size(hunyuan: HunyuanVideo) -> None:
    tables = hunyuan.network.rope.tables
    tables.clear()
    latents(hunyuan, INPUTS)
    assert len(tables) == 1
