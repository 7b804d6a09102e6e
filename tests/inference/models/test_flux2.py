"""FLUX.2: the same pictures as diffusers' own pipelines, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from diffusers.pipelines.flux2.pipeline_flux2 import SYSTEM_MESSAGE, compute_empirical_mu
from transformers import PreTrainedTokenizerFast

from inference.models.flux2 import SYSTEM, Flux2, time_shift
from tests.inference.models import tiny
from tests.inference.models.walking import asked, latents, pictures, same_pictures

INPUTS = {
    "prompt": "a red heart", "width": 32, "height": 48, "steps": 5, "seed": 7, "count": 1,
    "guidance": 4.0,
}  # fmt: skip


def parts(*, guided: bool) -> dict[str, Any]:
    with tiny.seeded():
        network = Flux2Transformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=48, timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4), guidance_embeds=guided,
        )  # fmt: skip
        vae = AutoencoderKLFlux2(
            block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=1,
            layers_per_block=1, sample_size=32,
        )  # fmt: skip
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    return {"scheduler": scheduler, "vae": tiny.stirred(vae), "transformer": tiny.stirred(network)}


def dev() -> Any:
    """Published with Mistral's processor, which cannot be had without torchvision."""
    tokenizer = tiny.chatting(tiny.qwen_tokenizer(), tiny.MISTRAL_TEMPLATE)
    read = {"text_encoder": tiny.mistral_encoder(), "tokenizer": tokenizer}
    return Flux2Pipeline(**parts(guided=True), **read)


def klein(*, distilled: bool = False) -> Any:
    tokenizer = tiny.chatting(tiny.qwen_tokenizer(), tiny.QWEN_TEMPLATE)
    read = {"text_encoder": tiny.qwen3_encoder(), "tokenizer": tokenizer}
    return Flux2KleinPipeline(**parts(guided=False), **read, is_distilled=distilled)


def distilled() -> Any:
    return klein(distilled=True)


def expected(pipe: Any, inputs: dict[str, Any], output: str = "latent") -> Any:
    return pipe(
        prompt=inputs["prompt"], width=inputs["width"], height=inputs["height"],
        num_inference_steps=inputs["steps"], guidance_scale=inputs["guidance"],
        generator=torch.Generator().manual_seed(inputs["seed"]), output_type=output,
    ).images  # fmt: skip


def unpacked(model: Flux2, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.inference_mode():
        return model.unpacked(latents(model, inputs)[0], model.sizes.grid(inputs))


@pytest.mark.parametrize("told", [{}, {"guidance": 1.0}])
def test_klein_follows_two_branches(ours: Any, theirs: Any, told: dict[str, Any]) -> None:
    model, pipe, inputs = ours("flux2", "flux2", klein), theirs("flux2", klein), INPUTS | told
    assert torch.equal(unpacked(model, inputs), expected(pipe, inputs))
    assert same_pictures(pictures(model, inputs), expected(pipe, inputs, "pil"))
    assert len(asked(model, inputs)) == (5 if told else 10)


def test_distilled_klein_follows_none(ours: Any, theirs: Any) -> None:
    model = ours("flux2", "flux2-distilled", distilled)
    pipe = theirs("flux2-distilled", distilled)
    assert torch.equal(unpacked(model, INPUTS), expected(pipe, INPUTS))
    properties = model.sizes.inputs()["properties"]
    assert ("guidance" in properties, properties["steps"]["default"]) == (False, 4)


def test_dev_reads_guidance(ours: Any, theirs: Any) -> None:
    model, pipe = ours("flux2", "flux2-dev", dev), theirs("flux2-dev", dev)
    assert torch.equal(latents(model, INPUTS)[0], expected(pipe, INPUTS))
    assert same_pictures(pictures(model, INPUTS), expected(pipe, INPUTS, "pil"))
    strict = INPUTS | {"guidance": 8.0}
    assert torch.equal(latents(model, strict)[0], expected(pipe, strict))


def test_a_processor_is_read_as_its_tokenizer(ours: Any, saved: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("flux2-dev", dev), tmp_path / "copy")
    index = json.loads((folder / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "PixtralProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    as_published = Flux2.load(folder, "cpu")
    assert type(as_published.parts["tokenizer"]) is PreTrainedTokenizerFast
    told, known = as_published.asked_mistral("red"), ours("flux2", "flux2-dev", dev)
    assert torch.equal(told["input_ids"], known.asked_mistral("red")["input_ids"])


def test_tables_of_words_and_of_as_many_tokens_are_apart(ours: Any) -> None:
    """512 words, and 16 rows of 32 tokens."""
    model, inputs = ours("flux2", "flux2", klein), INPUTS | {"width": 128, "height": 64, "steps": 1}
    model.network.pos_embed.tables.clear()
    once = latents(model, inputs)[0]
    tables = list(model.network.pos_embed.tables.values())
    assert [cos.shape[0] for cos, _ in tables] == [512, 512]
    assert not torch.equal(tables[0][1], tables[1][1])
    assert torch.equal(latents(model, inputs)[0], once)


@pytest.mark.parametrize("tokens", [256, 4096, 4300, 4301, 16384])
def test_times_shift_as_published(tokens: int) -> None:
    for steps in (4, 28, 50):
        assert time_shift(tokens, steps) == compute_empirical_mu(tokens, steps)


def test_the_system_message_is_diffusers_own() -> None:
    assert SYSTEM == SYSTEM_MESSAGE
