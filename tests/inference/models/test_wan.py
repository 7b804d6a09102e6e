"""Wan: the same clips as diffusers' own pipelines, with and without a first frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v

from inference import media
from inference.models import folder as folders
from inference.models.wan import Wan
from tests.inference.models import tiny
from tests.inference.models.walking import asked, latents, pictures, same_clip

INPUTS = {  # x264 gives other bytes now and then for clips less than 64 pixels wide
    "prompt": "a red  heart", "size": "64x64", "seconds": 1, "steps": 5, "seed": 7, "count": 1,
    "guidance": 5.0,
}  # fmt: skip
IMAGE = tiny.picture(64, 64)
SHOWN = INPUTS | {"image": media.data_uri(IMAGE)}


def network(seed: int, **told: Any) -> Any:
    sizes = {
        "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4,
        "text_dim": 32, "freq_dim": 16, "ffn_dim": 32, "num_layers": 1, "rope_max_seq_len": 32,
    }  # fmt: skip
    with tiny.seeded():
        return tiny.stirred(WanTransformer3DModel(**sizes | told), seed)


def autoencoder(channels: int = 4, **told: Any) -> Any:
    statistics = {"latents_mean": [0.1] * channels, "latents_std": [1.7] * channels}
    with tiny.seeded():
        return tiny.stirred(
            AutoencoderKLWan(
                base_dim=2, z_dim=channels, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                temperal_downsample=[False, True, True], **statistics, **told,
            )
        )  # fmt: skip


def parts() -> dict[str, Any]:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return {"scheduler": scheduler, "vae": autoencoder(), "text_encoder": tiny.umt5_encoder(),
            "tokenizer": tiny.t5_tokenizer(), "transformer": network(0)}  # fmt: skip


def pipeline() -> Any:
    return WanPipeline(**parts())


def experts() -> Any:
    return WanPipeline(**parts(), transformer_2=network(1), boundary_ratio=0.875)


def fine() -> Any:
    """The 5B's way: a time per token, so that a frame in place is at time zero."""
    return WanPipeline(**parts(), expand_timesteps=True)


def fine_shown() -> Any:
    return WanImageToVideoPipeline(**parts(), expand_timesteps=True)


def shown() -> Any:
    told = {"in_channels": 12, "image_dim": 32, "added_kv_proj_dim": 24}
    eye = {"image_encoder": tiny.clip_eye(), "image_processor": tiny.clip_processor()}
    return WanImageToVideoPipeline(**parts() | {"transformer": network(0, **told)}, **eye)


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent", **told: Any) -> Any:
    fps = 24 if pipe.config.expand_timesteps else 16
    width, height = map(int, inputs["size"].split("x"))
    return pipe(
        prompt=inputs["prompt"], negative_prompt="", width=width, height=height,
        num_frames=inputs["seconds"] * fps + 1, num_inference_steps=inputs["steps"],
        guidance_scale=inputs["guidance"], max_sequence_length=512, output_type=output,
        generator=torch.Generator().manual_seed(inputs["seed"]), **told,
    ).frames  # fmt: skip


@pytest.fixture(autouse=True)
def without_ftfy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffusers' second pipeline cannot clean a prompt without that library; its first can."""
    monkeypatch.setattr(pipeline_wan_i2v, "prompt_clean", pipeline_wan.prompt_clean)


@pytest.fixture
def wan(ours: Any) -> Wan:
    model: Wan = ours("wan", "wan", pipeline)
    return model


def test_latents_and_clips_are_those_of_diffusers(wan: Wan, theirs: Any) -> None:
    pipe = theirs("wan", pipeline)
    assert torch.equal(latents(wan, INPUTS)[0], expected(pipe, INPUTS))
    clip = pictures(wan, INPUTS)[0]
    assert (tuple(clip.frames.shape), clip.fps) == ((17, 64, 64, 3), 16)
    assert same_clip(clip, expected(pipe, INPUTS, "np")[0])


def test_two_experts_share_the_times(ours: Any, theirs: Any) -> None:
    model = ours("wan", "wan-experts", experts)
    inputs = INPUTS | {"guidance_2": 3.0}
    told = expected(theirs("wan-experts", experts), inputs, guidance_scale_2=3.0)
    assert torch.equal(latents(model, inputs)[0], told)
    used = {tuple(one.alike.values()) for one in asked(model, inputs)}
    assert used == {(0,), (1,)}
    assert "guidance_2" in model.sizes.inputs()["properties"]


@pytest.mark.parametrize("image", [False, True], ids=["text", "image"])
def test_the_5b_has_a_time_per_token(ours: Any, theirs: Any, image: bool) -> None:
    model = ours("wan", "wan-fine", fine)
    if image:
        told = expected(theirs("wan-fine-shown", fine_shown), SHOWN, image=IMAGE)
    else:
        told = expected(theirs("wan-fine", fine), INPUTS)
    work = model.prepare(SHOWN if image else INPUTS)
    made = latents(model, SHOWN if image else INPUTS)[0]
    assert torch.equal(work.seen(made), told)
    assert "image" not in model.sizes.inputs()["required"]


def test_a_first_frame_comes_as_channels_and_as_words(ours: Any, theirs: Any) -> None:
    model = ours("wan", "wan-shown", shown)
    pipe = theirs("wan-shown", shown)
    assert torch.equal(latents(model, SHOWN)[0], expected(pipe, SHOWN, image=IMAGE))
    assert same_clip(pictures(model, SHOWN)[0], expected(pipe, SHOWN, "np", image=IMAGE)[0])
    assert "image" in model.sizes.inputs()["required"]
    assert model.task(model.sizes) == "image-to-video"


def test_guidance_of_one_asks_for_one_branch(wan: Wan, theirs: Any) -> None:
    alone = INPUTS | {"guidance": 1.0}
    assert len(next(wan.denoise(wan.prepare(alone)))) == 1
    assert torch.equal(latents(wan, alone)[0], expected(theirs("wan", pipeline), alone))


def test_rotation_tables_are_made_once_per_size(wan: Wan) -> None:
    tables = wan.experts[0].rope.tables
    tables.clear()
    latents(wan, INPUTS)
    assert len(tables) == 1


def test_what_the_class_keeps_in_float32_stays_so(saved: Any) -> None:
    parts = folders.read(saved("wan", pipeline), Wan.PARTS, "cpu", torch.bfloat16)
    kept = {
        name for name, one in parts["transformer"].named_parameters() if one.dtype == torch.float32
    }
    assert "scale_shift_table" in kept
    assert "condition_embedder.time_embedder.linear_1.weight" in kept
    assert not any("attn1" in name for name in kept)
    assert {one.dtype for one in parts["vae"].parameters()} == {torch.float32}
    assert {one.dtype for one in parts["text_encoder"].parameters()} == {torch.bfloat16}
