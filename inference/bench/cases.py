"""What is measured: six denoisers at their published width with random weights, and their inputs.

Weights are made on no device, given memory where they are needed, and drawn there from one seed,
so that 12 billion of them take seconds. Modules that a class keeps in float32 stay in float32.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from inference.compiler.families import (
    BF16,
    FAMILIES,
    TINY,
    Inputs,
    Size,
    draw,
    kept_in_float32,
    restore,
)


@dataclass(frozen=True)
class Case:
    """One denoiser: whose family, how much time it may take, and what was left out of it."""

    family: str
    seconds: float
    overrides: dict[str, Any] = field(default_factory=dict)
    note: str = ""


WAN_14B = {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 8}
CASES: dict[str, Case] = {
    "flux-1-dev": Case("flux-1-dev", 90),
    "ltx-video-2b": Case("ltx-video-2b", 40),
    "wan-2.1-1.3b": Case("wan-2.1-1.3b", 60, note="480p, 81 frames"),
    "sdxl": Case("sdxl", 60, note="batch of 2 for guidance"),
    "wan-2.1-14b": Case("wan-2.1-1.3b", 90, WAN_14B, "480p, 81 frames, 8 of 40 blocks: scaled"),
    "qwen-image": Case("qwen-image", 90, note="1328 × 1328"),
}


def size_of(case: Case, *, tiny: bool) -> Size:
    """What one forward sees."""
    return TINY if tiny else FAMILIES[case.family].size


def build(case: Case, device: str, *, tiny: bool) -> nn.Module:
    """Make the denoiser with seeded random weights on a device, in evaluation mode."""
    family = FAMILIES[case.family]
    config = family.config | case.overrides | (family.tiny if tiny else {})
    with init_empty_weights(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers on meta are not moved, which torch mentions
        module: nn.Module = getattr(diffusers, family.kind)(**config)
    materialise(module.eval(), device)
    draw(module)
    return module.requires_grad_(requires_grad=False)


def materialise(module: nn.Module, device: str) -> None:
    """Give every parameter memory, and every buffer its place."""
    kept = kept_in_float32(module)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        narrow = tensor.is_floating_point() and kept.isdisjoint(name.split("."))
        dtype = BF16 if narrow else tensor.dtype
        owner, _, leaf = name.rpartition(".")
        given = torch.empty(tensor.shape, dtype=dtype, device=device) if tensor.is_meta else tensor
        restore(module.get_submodule(owner), leaf, given.to(device, dtype))


def inputs_of(case: Case, device: str, *, tiny: bool) -> Inputs:
    """Draw what the denoiser is called with, on the CPU, so that every device sees the same."""
    torch.manual_seed(1)
    made = FAMILIES[case.family].example(size_of(case, tiny=tiny), tiny=tiny)
    return moved(made, device)


def moved(value: Any, device: str) -> Any:
    """Put all tensors among values on a device."""
    if isinstance(value, dict):
        return {name: moved(one, device) for name, one in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def twin(module: nn.Module) -> nn.Module:
    """Make the same module over the same weights, to be compiled apart from the first."""
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(one): one for one in tensors})
