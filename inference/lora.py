"""Adapters (LoRA) that are swapped without compiling anything anew.

Every linear layer gets room for adapters of a largest rank once, all zeros; to use adapters is to
copy them into that room, several side by side. Graphs see the same layers and the same shapes ever
after. Zeros add nothing: without an adapter the outputs are those of the bare network, bit for bit.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference import header
from inference.header import Held
from inference.loading import arena_of, read

LARGEST_BYTES = 2**31
HALVES = {"lora_A": "down", "lora_B": "up", "lora.down": "down", "lora.up": "up"}
NAME = re.compile(
    r"(?:(?:base_model\.model|transformer|unet|diffusion_model)\.)?"
    r"(?P<layer>[\w.]+?)\.(?:(?P<half>lora_A|lora_B|lora\.down|lora\.up)(?:\.default)?\.weight"
    r"|(?P<alpha>alpha))"
)


class Unfit(ValueError):
    """An adapter that this network cannot use; says why."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What an adapter adds to one layer: scale · up · down.  down (r, in), up (out, r)."""

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter in host memory, known to fit the network that it was read for."""

    rank: int
    layers: dict[str, Layer]


Used = tuple[tuple[Adapter, float], ...]


class Roomy(nn.Linear):
    """A linear layer with room for adapters.  What it adds is zero until something is copied in."""

    lora_down: Tensor  # (most, in)
    lora_up: Tensor  # (out, most)
    lora_scale: Tensor  # (most,)

    def forward(self, input: Tensor) -> Tensor:
        """Add up · (scale ∘ (down · x)) to the layer's own output."""
        added = functional.linear(input, self.lora_down) * self.lora_scale
        own = functional.linear(input, self.weight, self.bias)
        return own + functional.linear(added, self.lora_up)


class Adapters:
    """The room in a model's networks, and what is in it."""

    def __init__(self, *networks: nn.Module, most: int = 64) -> None:
        """Make room in every linear layer, before anything is compiled.  most: ranks in sum.

        Layers of a second network, as of a model with two experts, are called `transformer_2.…`.
        """
        self.most = most
        self.used: Used | None = ()
        self.layers: dict[str, Roomy] = {}
        for place, network in enumerate(networks, start=1):
            prefix = f"transformer_{place}." if place > 1 else ""
            for name, layer in network.named_modules():
                if type(layer) is nn.Linear:
                    self.layers[prefix + name] = roomy(layer, most)

    @property
    def bytes(self) -> int:
        """Sum the room."""
        return sum(
            one.numel() * one.element_size()
            for layer in self.layers.values()
            for one in room_of(layer)
        )

    def read(self, path: Path) -> Adapter:
        """Read an adapter's safetensors.  Raises Invalid, Unfit, before a weight of it is read."""
        if path.stat().st_size > LARGEST_BYTES:
            raise Unfit(f"{path.name} is larger than {LARGEST_BYTES} bytes")
        names = self.check(header.read(path).tensors)
        found = read(path, arena_of("cpu"))
        if broken := sorted(name for name, one in found.items() if not bool(one.isfinite().all())):
            raise Unfit(f"{broken[0]} holds values that are no numbers")
        layers = {layer: layer_of(parts, found) for layer, parts in names.items()}
        return Adapter(max(len(layer.down) for layer in layers.values()), layers)

    def check(self, tensors: tuple[Held, ...]) -> dict[str, dict[str, str]]:
        """Check names, types, shapes and ranks.  → layer → down, up, alpha → name in the file."""
        named: dict[str, dict[str, Held]] = defaultdict(dict)
        for one in tensors:
            found = NAME.fullmatch(one.name)
            if not found or not one.dtype.is_floating_point or one.dtype.itemsize < 2:
                raise Unfit(f"{one.name} ({one.dtype}) is no part of an adapter")
            part = HALVES.get(found["half"] or "", "alpha")
            if part in named[found["layer"]]:
                raise Unfit(f"{one.name} stands in it twice")
            named[found["layer"]][part] = one
        if not named:
            raise Unfit("the adapter is empty")
        for layer, parts in named.items():
            self.check_layer(layer, parts)
        return {
            layer: {part: one.name for part, one in parts.items()} for layer, parts in named.items()
        }

    def check_layer(self, name: str, parts: dict[str, Held]) -> None:
        """Check what an adapter says of one layer."""
        layer = self.layers.get(name)
        if layer is None:
            raise Unfit(f"the network has no linear layer {name}")
        if {"down", "up"} - parts.keys():
            raise Unfit(f"{name} needs lora_A and lora_B")
        down, up = parts["down"].shape, parts["up"].shape
        if len(down) != 2 or len(up) != 2 or down[0] != up[1]:
            raise Unfit(f"{name}: {down} and {up} are no pair of matrices")
        if not 0 < down[0] <= self.most:
            raise Unfit(f"{name} has rank {down[0]}; allowed are 1 to {self.most}")
        if (up[0], down[1]) != (layer.out_features, layer.in_features):
            size = f"{layer.out_features} × {layer.in_features}"
            raise Unfit(f"{name} is {up[0]} × {down[1]}, the network's layer {size}")
        if "alpha" in parts and parts["alpha"].shape not in {(), (1,)}:
            raise Unfit(f"{name}: alpha is one number")

    @torch.no_grad()
    def use(self, *wanted: tuple[Adapter, float]) -> None:
        """Have these adapters, each with its strength, and no others.

        Costs nothing where they are in use already. Raises Unfit where their ranks do not fit
        together; then all stays as it is.
        """
        if wanted == self.used:
            return
        ranks = sum(adapter.rank for adapter, _ in wanted)
        if ranks > self.most:
            raise Unfit(f"ranks add up to {ranks}; allowed are {self.most}")
        self.used = None  # not known until all is copied
        torch._foreach_zero_([one for layer in self.layers.values() for one in room_of(layer)])
        for name, layer in self.layers.items():
            at = 0
            for adapter, strength in wanted:
                if part := adapter.layers.get(name):
                    at = put(layer, part, strength, at)
        self.used = wanted


def roomy(layer: nn.Linear, most: int) -> Roomy:
    """Give a layer its room; it stays the same object, so nothing else notices."""
    weight = layer.weight
    room = {
        "lora_down": (most, layer.in_features),
        "lora_up": (layer.out_features, most),
        "lora_scale": (most,),
    }
    for name, shape in room.items():
        empty = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        layer.register_buffer(name, empty, persistent=False)
    layer.__class__ = Roomy
    return cast("Roomy", layer)


def room_of(layer: Roomy) -> tuple[Tensor, Tensor, Tensor]:
    """Give what an adapter is copied into."""
    return layer.lora_down, layer.lora_up, layer.lora_scale


def put(layer: Roomy, part: Layer, strength: float, at: int) -> int:
    """Copy an adapter's part into a layer's room from row `at`.  → the next free row."""
    end = at + len(part.down)
    layer.lora_down[at:end].copy_(part.down)
    layer.lora_up[:, at:end].copy_(part.up)
    layer.lora_scale[at:end].fill_(part.scale * strength)
    return end


def rank_of(path: Path) -> int:
    """Read an adapter's largest rank from its header.  Raises Invalid."""
    named = ((NAME.fullmatch(one.name), one.shape) for one in header.read(path).tensors)
    downs = (shape for found, shape in named if found and HALVES.get(found["half"]) == "down")
    return max((shape[0] for shape in downs if len(shape) == 2), default=0)


def layer_of(names: dict[str, str], found: dict[str, Tensor]) -> Layer:
    """Take one layer's tensors; without an alpha the scale is one."""
    down, up = found[names["down"]], found[names["up"]]
    alpha = float(found[names["alpha"]]) if "alpha" in names else float(len(down))
    return Layer(down, up, alpha / len(down))
