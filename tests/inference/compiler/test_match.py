"""Each site of an architecture is found, no more and no fewer; rewritten graphs keep their bits."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import pytest
import torch

from inference.compiler.families import FAMILIES
from inference.compiler.published import plan_of
from inference.lora import Adapters
from tests.inference.compiler.conftest import Captured

# Sites by pattern: (constant, per block, per single block, per refiner block).
SITES: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "flux-1-dev": {
        "A": (0, 4, 2, 0), "B": (1, 4, 1, 0), "C": (0, 4, 1, 0), "D": (0, 2, 1, 0),
        "E": (0, 3, 2, 0),
    },
    "flux-2-dev": {
        "A": (0, 4, 2, 0), "B": (1, 4, 1, 0), "C": (0, 4, 1, 0), "D": (0, 2, 1, 0),
        "E": (1, 3, 1, 0),
    },
    "qwen-image": {
        "A": (0, 4, 0, 0), "B": (1, 4, 0, 0), "C": (0, 4, 0, 0), "D": (0, 2, 0, 0),
        "E": (0, 3, 0, 0), "F": (1, 0, 0, 0),
    },
    "sd3.5-large": {  # the last block has no text behind attention
        "A": (0, 4, 0, 0), "B": (0, 4, 0, 0), "C": (-2, 4, 0, 0), "D": (-1, 2, 0, 0),
        "E": (0, 3, 0, 0), "F": (1, 0, 0, 0),
    },
    "ltx-video-2b": {
        "A": (0, 4, 0, 0), "B": (1, 2, 0, 0), "C": (0, 2, 0, 0), "D": (1, 1, 0, 0),
        "F": (0, 1, 0, 0),
    },
    "wan-2.1-1.3b": {
        "A": (0, 4, 0, 0), "B": (1, 2, 0, 0), "C": (0, 2, 0, 0), "D": (1, 1, 0, 0),
        "F": (0, 2, 0, 0),
    },
    "hunyuan-video": {
        "A": (0, 4, 2, 0), "B": (1, 4, 1, 0), "C": (0, 4, 1, 2), "D": (0, 2, 1, 1),
        "E": (0, 3, 6, 0), "F": (0, 0, 0, 2),
    },
}  # fmt: skip
# What the architectures have at their published depth. Under E, tables of RoPE are not counted:
# they are made once for all steps.
PUBLISHED = {
    "flux-1-dev": {"A": 152, "B": 115, "C": 114, "D": 76, "E": 133},
    "flux-2-dev": {"A": 128, "B": 81, "C": 80, "D": 64, "E": 73},
    "qwen-image": {"A": 240, "B": 241, "C": 240, "D": 120, "E": 180, "F": 1},
    "sd3.5-large": {"A": 152, "B": 152, "C": 150, "D": 75, "E": 114, "F": 1},
    "ltx-video-2b": {"A": 112, "B": 57, "C": 56, "D": 29, "F": 28},
    "wan-2.1-1.3b": {"A": 120, "B": 61, "C": 60, "D": 31, "F": 60},
    "hunyuan-video": {"A": 160, "B": 121, "C": 124, "D": 82, "E": 300, "F": 4},
}
DEPTHS = ("num_layers", "num_single_layers", "num_refiner_layers")


def expected(name: str, config: dict[str, int]) -> dict[str, int]:
    """Sites of a family at a depth."""
    depths = (1, *(config.get(depth, 0) for depth in DEPTHS))
    return {
        letter: sum(map(prod, zip(slopes, depths, strict=True)))
        for letter, slopes in SITES[name].items()
    }


def sites(found: Captured) -> dict[str, int]:
    return {letter: row.sites for letter, row in found.plan.report.patterns.items() if row.sites}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_slopes_give_the_published_counts(name: str) -> None:
    assert expected(name, FAMILIES[name].config) == PUBLISHED[name]


@pytest.mark.parametrize("name", SITES)
def test_every_site_is_found(name: str, captured: Callable[[str], Captured]) -> None:
    family = FAMILIES[name]
    assert sites(captured(name)) == expected(name, family.config | family.tiny)


def unet(blocks: int, residuals: int, transformers: int, skips: int) -> dict[str, int]:
    """Sites of a UNet: three norms and adds per block, two norms and adds per residual."""
    groups = 2 * residuals + transformers + 1
    adds = 6 * blocks + 2 * residuals + transformers
    return {"D": blocks, "E": skips, "F": adds, "G": groups}


def test_every_site_of_a_unet_is_found(captured: Callable[[str], Captured]) -> None:
    assert unet(70, 17, 11, 9) == {"D": 70, "E": 9, "F": 465, "G": 46}  # SDXL as published
    assert sites(captured("sdxl")) == unet(7, 11, 7, 6)  # one layer of each instead of two or more


@pytest.mark.parametrize("name", FAMILIES)
def test_the_rewritten_graph_gives_eagers_bits(
    name: str, captured: Callable[[str], Captured]
) -> None:
    found = captured(name)
    assert found.eager.isfinite().all()
    assert torch.equal(found.ours, found.eager)


@pytest.mark.parametrize("name", SITES)
def test_a_transformers_bytes_are_covered(name: str, captured: Callable[[str], Captured]) -> None:
    report = captured(name).plan.report
    assert report.share("ABCD") >= 0.85
    assert report.share("ABCDEFG") >= 0.92
    assert report.fused_bytes < report.eager_bytes / 2.5


@pytest.mark.parametrize("name", ["flux-1-dev", "flux-2-dev"])
def test_room_for_adapters_hides_no_site(name: str) -> None:
    """An adapter's part is added behind each linear layer: no fused pattern may be lost to that."""
    plan = plan_of(FAMILIES[name], tiny=True, depths={}, prepare=lambda m: Adapters(m, most=8))
    config = FAMILIES[name].config | FAMILIES[name].tiny
    found = {letter: row.sites for letter, row in plan.report.patterns.items() if letter in "ABCDE"}
    assert found == {letter: expected(name, config)[letter] for letter in "ABCDE"}


def test_no_norm_rotation_or_activation_is_left_over(
    captured: Callable[[str], Captured],
) -> None:
    for name in SITES:
        left = set(captured(name).plan.report.uncovered)
        assert left.isdisjoint({"layer_norm", "rms_norm", "rsqrt", "neg", "gelu"}), name
