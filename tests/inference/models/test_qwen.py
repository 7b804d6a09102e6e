"""Qwen-Image: the same pictures as diffusers' own pipeline, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)

from inference.models.qwen import NOTHING, TEMPLATE, QwenImage
from tests.inference.models import tiny
from tests.inference.models.walking import asked, latents, pictures, same_pictures

INPUTS = {"prompt": "a red heart", "width": 32, "height": 48, "steps": 5, "seed": 7, "count": 1}


def pipeline() -> Any:
    with tiny.seeded():
        network = QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, guidance_embeds=False,
            axes_dims_rope=(8, 4, 4),
        )  # fmt: skip
        vae = AutoencoderKLQwenImage(
            base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True], latents_mean=[0.1] * 4, latents_std=[1.7] * 4,
        )  # fmt: skip
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, shift=1.0, base_shift=0.5, max_shift=0.9,
            max_image_seq_len=8192, shift_terminal=0.02,
        ),
        vae=tiny.stirred(vae), transformer=tiny.stirred(network),
        text_encoder=tiny.qwen_encoder(), tokenizer=tiny.qwen_tokenizer(),
    )  # fmt: skip


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent") -> Any:
    return pipe(
        inputs["prompt"], negative_prompt=inputs.get("negative_prompt") or NOTHING,
        width=inputs["width"], height=inputs["height"], num_inference_steps=inputs["steps"],
        true_cfg_scale=inputs.get("guidance", 4.0), output_type=output,
        generator=torch.Generator().manual_seed(inputs["seed"]),
    ).images  # fmt: skip


@pytest.fixture
def qwen(ours: Any) -> QwenImage:
    model: QwenImage = ours("qwen", "qwen", pipeline)
    return model


@pytest.fixture
def pipe(theirs: Any) -> Any:
    return theirs("qwen", pipeline)


@pytest.mark.parametrize("told", [{}, {"negative_prompt": "blue"}, {"guidance": 1.0}])
def test_latents_are_those_of_diffusers(qwen: QwenImage, pipe: Any, told: dict[str, Any]) -> None:
    assert torch.equal(latents(qwen, INPUTS | told)[0], expected(pipe, INPUTS | told))


def test_pictures_are_those_of_diffusers(qwen: QwenImage, pipe: Any) -> None:
    assert same_pictures(pictures(qwen, INPUTS), expected(pipe, INPUTS, "pil"))


def test_the_template_is_diffusers_own(pipe: Any) -> None:
    assert pipe.prompt_template_encode == TEMPLATE


def test_shapes_that_fix_the_rotation_are_told_beside_the_rows(qwen: QwenImage) -> None:
    assert [one.alike for one in asked(qwen, INPUTS)] == [{"img_shapes": [[(1, 3, 2)]]}] * 10
