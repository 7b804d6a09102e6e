"""Whole plans on a GPU: used and within their class, captured, quantised; attention by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from inference import attention
from inference.bench.cases import moved
from inference.compiler.backend import accelerate
from inference.compiler.families import FAMILIES, Size
from inference.compiler.graphs import Graphed
from inference.compiler.parity import distance
from inference.kernels import Exactness
from inference.kernels.fused import refused

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
SIZE = Size(1, 1, 16, 16, 24)
every = pytest.mark.parametrize("name", FAMILIES)


def made(name: str, size: Size = SIZE) -> tuple[nn.Module, dict[str, Any]]:
    """A tiny family and its inputs on the GPU."""
    family = FAMILIES[name]
    return family.build().to("cuda"), moved(family.example(size), "cuda")


@every
@torch.no_grad()
def test_a_plan_is_used_and_no_kernel_falls_back(name: str) -> None:
    module, inputs = made(name)
    eager = module(**inputs)[0]
    compiler, before = accelerate(module), refused.total()
    ours = module(**inputs)[0]
    assert compiler.reasons() == []
    assert refused.total() == before
    assert distance(ours, eager) < 0.02
    torch._dynamo.reset()


@every
@torch.no_grad()
def test_a_captured_forward_repeats_the_plans_bits_for_new_inputs(name: str) -> None:
    module, inputs = made(name)
    accelerate(module)
    graphed = Graphed(lambda **given: module(**given)[0], "cuda")
    for seed in (1, 2):
        torch.manual_seed(seed)
        main = next(iter(inputs))
        inputs[main] = torch.randn_like(inputs[main])
        assert torch.equal(graphed(**inputs), module(**inputs)[0])
    assert graphed.reason == ""
    assert len(graphed.captured) == 1
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["flux-1-dev", "wan-2.1-1.3b", "qwen-image"])
@torch.no_grad()
def test_fp8_is_a_few_percent_from_eager(name: str) -> None:
    module, inputs = made(name)
    eager = module(**inputs)[0]
    compiler = accelerate(module, Exactness.E2)
    assert 1e-3 < distance(module(**inputs)[0], eager) < 0.1
    assert compiler.reasons() == []
    torch._dynamo.reset()


@pytest.mark.parametrize("name", attention.NAMES)
def test_every_attention_is_near_the_others(name: str) -> None:
    q, k, v = (torch.randn(1, 4, 256, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    exact = nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    with attention.using(name):
        assert distance(nn.functional.scaled_dot_product_attention(q, k, v), exact) < 0.01
    assert attention.choose(((1, 4, 256, 64), (1, 4, 256, 64), torch.bfloat16), "cuda") in (
        attention.KERNELS
    )
