"""Repeated blocks are compiled once, for every instance and every size, with eager's bits."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from inference.compiler.backend import accelerate, repeated
from inference.compiler.families import FAMILIES, Size

SIZES = [Size(1, 1, 6, 8, 7), Size(1, 1, 8, 8, 7), Size(1, 1, 4, 10, 12), Size(1, 1, 3, 5, 9)]


DUAL = {"A": 4, "B": 4, "C": 4, "D": 2, "E": 3}
SINGLE = {"A": 2, "B": 1, "C": 1, "D": 1, "E": 1}
VIDEO = {"A": 4, "B": 2, "C": 2, "D": 1, "F": 2}


@pytest.mark.parametrize(
    ("name", "sites"), [("flux-1-dev", [DUAL, SINGLE]), ("wan-2.1-1.3b", [VIDEO])]
)
def test_a_new_resolution_compiles_nothing(name: str, sites: list[dict[str, int]]) -> None:
    family = FAMILIES[name]
    module = family.build(**dict.fromkeys(family.depths, 3))
    given = [family.example(size) for size in SIZES]
    with torch.no_grad():
        eager = [module(**one)[0] for one in given]
        compiler = accelerate(module)
        ours = [module(**one)[0] for one in given[:2]]
        made = len(compiler.plans)
        ours += [module(**one)[0] for one in given[2:]]
    assert all(map(torch.equal, ours, eager))
    assert len(compiler.plans) == made <= 2 * len(sites)
    found = [
        {letter: row.sites for letter, row in plan.report.patterns.items() if row.sites}
        for plan in compiler.plans
    ]
    assert all(one in sites for one in found)
    assert all(one in found for one in sites)


def test_a_class_that_declares_no_blocks_is_compiled_by_its_largest_lists() -> None:
    family = FAMILIES["sd3.5-large"]
    module = family.build(num_layers=3)
    assert not getattr(module, "_repeated_blocks", None)
    assert repeated(module) == {"JointTransformerBlock"}
    given = family.example(SIZES[0])
    with torch.no_grad():
        eager = module(**given)[0]
        compiler = accelerate(module)
        assert torch.equal(module(**given)[0], eager)
    assert compiler.plans[0].report.templates["qk_norm_rope"] == 2


def test_a_model_without_repeated_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="Sequential has no repeated blocks"):
        accelerate(nn.Sequential(nn.Linear(2, 2)))


def test_residual_blocks_of_a_unet_are_compiled_too() -> None:
    family = FAMILIES["sdxl"]
    module, given = family.build(), family.example(Size(1, 1, 8, 8, 7))
    assert repeated(module) == {"BasicTransformerBlock", "ResnetBlock2D"}
    with torch.no_grad():
        eager = module(**given)[0]
        compiler = accelerate(module)
        assert torch.equal(module(**given)[0], eager)
    templates = [plan.report.templates for plan in compiler.plans]
    assert {one.get("group_norm_silu", 0) for one in templates} == {0, 2}
    assert compiler.summary()["name"] == "templates"


def test_a_picture_vae_decodes_on_plans_at_any_size_and_in_any_layout() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(16, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4,
    ).eval().bfloat16()  # fmt: skip
    assert repeated(vae) == {"ResnetBlock2D", "Attention"}
    sizes = [(4, 6), (5, 4), (8, 8)]
    with torch.no_grad():
        given = [torch.randn(1, 4, *size).bfloat16() for size in sizes]
        layouts = [torch.contiguous_format, torch.channels_last, torch.contiguous_format]
        given = [one.to(memory_format=how) for one, how in zip(given, layouts, strict=True)]
        eager = [vae.decode(one)[0] for one in given]
        compiler = accelerate(vae)
        ours = [vae.decode(one)[0] for one in given]
    assert all(map(torch.equal, ours, eager))
    assert compiler.summary()["name"] == "templates"
    counts = {tuple(plan.report.templates.items()) for plan in compiler.plans}
    assert counts == {(("group_norm_silu", 2),), (("group_norm_silu", 1),)}
