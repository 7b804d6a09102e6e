"""Adapters: checked before use, swapped without a compilation, gone without a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._dynamo.utils import counters

from inference.compiler.backend import accelerate
from inference.compiler.families import FAMILIES, TINY
from inference.header import Invalid
from inference.lora import Adapters, Unfit

LAYER = "transformer_blocks.0.attn.to_q"
SINGLE = "single_transformer_blocks.0.proj_mlp"


@pytest.fixture
def network() -> nn.Module:
    made: nn.Module = FAMILIES["flux-1-dev"].build().float()
    return made


@pytest.fixture
def adapters(network: nn.Module) -> Adapters:
    return Adapters(network, most=8)


def pair(adapters: Adapters, layer: str, rank: int, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    linear = adapters.layers[layer]
    return {
        f"transformer.{layer}.lora_A.weight": torch.randn(rank, linear.in_features, generator=draw),
        f"transformer.{layer}.lora_B.weight": torch.randn(
            linear.out_features, rank, generator=draw
        ),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[dict[str, Tensor]], Path]:
    def save(tensors: dict[str, Tensor]) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        save_file(tensors, path)
        return path

    return save


def given() -> dict[str, Any]:
    told = FAMILIES["flux-1-dev"].example(TINY)
    return {
        name: one.float() if isinstance(one, Tensor) and one.is_floating_point() else one
        for name, one in told.items()
    }


def test_swapping_compiles_nothing_and_removing_leaves_no_trace(
    network: nn.Module, saved: Callable[[dict[str, Tensor]], Path]
) -> None:
    told = given()
    with torch.no_grad():
        bare = network(**told)[0]
        adapters = Adapters(network, most=8)
        assert torch.equal(network(**told)[0], bare)
        compiler = accelerate(network)
        assert torch.equal(network(**told)[0], bare)
        graphs, plans = counters["stats"]["unique_graphs"], len(compiler.plans)
        assert graphs > 0
        first = adapters.read(saved(pair(adapters, LAYER, 4) | pair(adapters, SINGLE, 4, 1)))
        second = adapters.read(saved(pair(adapters, LAYER, 2, 2)))
        adapters.use((first, 1.0))
        one = network(**told)[0]
        adapters.use((second, 0.5))
        other = network(**told)[0]
        adapters.use((first, 1.0), (second, 0.5))
        both = network(**told)[0]
        adapters.use((first, 1.0))
        assert torch.equal(network(**told)[0], one)
        adapters.use()
        assert torch.equal(network(**told)[0], bare)
        outputs = [bare, one, other, both]
        assert all(not torch.equal(a, b) for a in outputs for b in outputs if a is not b)
    assert counters["stats"]["unique_graphs"] == graphs
    assert len(compiler.plans) == plans
    torch._dynamo.reset()


def test_an_adapter_adds_what_its_weights_say(
    adapters: Adapters, saved: Callable[[dict[str, Tensor]], Path]
) -> None:
    told = pair(adapters, LAYER, 4)
    down, up = told.values()
    alpha = {f"transformer.{LAYER}.alpha": torch.tensor(2.0)}
    adapter = adapters.read(saved(told | alpha))
    linear = adapters.layers[LAYER]
    x = torch.randn(3, linear.in_features)
    bare = linear(x)
    adapters.use((adapter, 0.5))
    torch.testing.assert_close(linear(x), bare + x @ down.T @ up.T * (2.0 / 4 * 0.5))


def test_the_room_is_not_part_of_the_weights(network: nn.Module) -> None:
    before = list(network.state_dict())
    adapters = Adapters(network, most=2)
    assert list(network.state_dict()) == before
    assert len(adapters.layers) == sum(isinstance(m, nn.Linear) for m in network.modules())
    assert adapters.bytes > 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda a: {}, "the adapter is empty"),
        (lambda a: pair(a, LAYER, 9), r"to_q has rank 9; allowed are 1 to 8"),
        (lambda a: dict(list(pair(a, LAYER, 4).items())[:1]), "needs lora_A and lora_B"),
        (lambda a: {"x.weight": torch.ones(1)}, r"x\.weight \(torch\.float32\) is no part"),
        (lambda a: {k: v.long() for k, v in pair(a, LAYER, 2).items()}, "is no part"),
        (
            lambda a: {k.replace("to_q", "to_z"): v for k, v in pair(a, LAYER, 2).items()},
            r"no linear layer transformer_blocks\.0\.attn\.to_z",
        ),
        (
            lambda a: {k: v[..., :5].contiguous() for k, v in pair(a, LAYER, 6).items()},
            "no pair of matrices",
        ),
        (
            lambda a: {k.replace(SINGLE, LAYER): v for k, v in pair(a, SINGLE, 2).items()},
            "the network's layer",
        ),
        (lambda a: {k: v * torch.inf for k, v in pair(a, LAYER, 2).items()}, "no numbers"),
        (
            lambda a: (
                pair(a, LAYER, 2)
                | {k.replace("transformer.", "unet.", 1): v for k, v in pair(a, LAYER, 2).items()}
            ),
            "twice",
        ),
        (
            lambda a: pair(a, LAYER, 2) | {f"transformer.{LAYER}.alpha": torch.ones(2)},
            "alpha is one number",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(
    adapters: Adapters,
    saved: Callable[[dict[str, Tensor]], Path],
    spoil: Callable[[Adapters], dict[str, Tensor]],
    reason: str,
) -> None:
    with pytest.raises(Unfit, match=reason):
        adapters.read(saved(spoil(adapters)))


def test_a_file_that_is_no_safetensors_is_refused(adapters: Adapters, tmp_path: Path) -> None:
    path = tmp_path / "pickled.safetensors"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(Invalid):
        adapters.read(path)


def test_ranks_that_do_not_fit_together_change_nothing(
    adapters: Adapters, saved: Callable[[dict[str, Tensor]], Path]
) -> None:
    large = adapters.read(saved(pair(adapters, LAYER, 6)))
    small = adapters.read(saved(pair(adapters, LAYER, 3)))
    adapters.use((large, 1.0))
    held = adapters.layers[LAYER].lora_down.clone()
    with pytest.raises(Unfit, match="ranks add up to 9; allowed are 8"):
        adapters.use((large, 1.0), (small, 1.0))
    assert torch.equal(adapters.layers[LAYER].lora_down, held)
    assert adapters.used == ((large, 1.0),)
