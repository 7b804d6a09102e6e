"""The fp8 tier: where it goes, what it leaves alone, and that nobody gets it unasked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from inference.compiler.approximate import stored
from inference.compiler.backend import accelerate, trace
from inference.compiler.families import FAMILIES, Size
from inference.compiler.parity import distance
from inference.compiler.plan import Plan, rewrite
from inference.kernels import Exactness

SIZE = Size(1, 1, 4, 4, 16)


class Block(nn.Module):
    """Two layers behind one modulation, a third of another width, a gated residual."""

    def __init__(self, odd: int = 48) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(64, elementwise_affine=False)
        self.q, self.k = nn.Linear(64, 64), nn.Linear(64, odd, bias=False)
        self.time = nn.Linear(64, 192)
        self.eval().bfloat16()

    def forward(self, x: Tensor, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale, shift, gate = self.time(t).unsqueeze(1).chunk(3, -1)
        x = x + gate * y
        inner = self.norm(x) * (1 + scale) + shift
        return x, self.q(inner), self.k(inner)


def planned(block: nn.Module) -> tuple[Any, Plan, list[Tensor]]:
    torch.manual_seed(0)
    inputs = [torch.randn(*shape).bfloat16() for shape in ((2, 16, 64), (2, 16, 64), (2, 64))]
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad():
        module = trace(block, [mode.from_tensor(one) for one in inputs])
        return module, rewrite(module, fp8=True), inputs


def test_one_quantised_modulation_feeds_every_layer_behind_it() -> None:
    block = Block()
    module, plan, inputs = planned(block)
    used = plan.report.templates
    assert (used["modulate_fp8"], used["linear_fp8"], used.get("quantize", 0)) == (1, 2, 0)
    assert plan.report.exactness == Exactness.E2
    targets = [str(node.target) for node in module.graph.nodes]
    assert sum("gated_residual" in one for one in targets) == 1
    assert not any("gated_modulate" in one for one in targets)
    with torch.no_grad():
        ours, eager = module(*inputs), block(*inputs)
    assert torch.equal(ours[0], eager[0])  # the residual stream itself is not quantised
    for one, other in zip(ours[1:], eager[1:], strict=True):
        assert one.dtype == torch.bfloat16
        assert 1e-4 < distance(one, other) < 0.06


def test_a_layer_of_an_odd_width_keeps_its_type_and_its_input() -> None:
    module, plan, inputs = planned(Block(odd=40))
    assert plan.report.templates["linear_fp8"] == 1
    assert plan.report.templates["quantize"] == 1  # since the other layer reads bfloat16
    assert "modulate_fp8" not in plan.report.templates
    with torch.no_grad():
        assert module(*inputs)[2].shape == (2, 16, 40)


def test_a_layer_over_time_embeddings_is_left_alone() -> None:
    module, _, _ = planned(Block())
    plain = [node for node in module.graph.nodes if str(node.target) == "aten.linear.default"]
    assert len(plain) == 1


def test_a_weight_is_quantised_once_and_forgotten_with_it() -> None:
    weight = torch.randn(16, 32).bfloat16()
    first, second = stored(weight), stored(weight)
    assert first[0] is second[0]
    assert first[0].dtype == torch.float8_e4m3fn
    assert first[1].shape == (16, 1)


@pytest.mark.parametrize("name", ["flux-1-dev", "wan-2.1-1.3b"])
def test_a_model_gets_fp8_only_by_name(name: str) -> None:
    family = FAMILIES[name]
    inputs = family.example(SIZE)
    module = family.build(**dict.fromkeys(family.depths, 1))
    with torch.no_grad():
        eager = module(**inputs)[0]
        compiler = accelerate(module, Exactness.E2)
        ours = module(**inputs)[0]
    told = compiler.summary()
    assert (told["name"], told["exactness"]) == ("templates", "E2")
    assert all(graph["templates"]["linear_fp8"] >= 4 for graph in told["graphs"])
    assert 1e-3 < distance(ours, eager) < 0.1
