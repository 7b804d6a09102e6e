"""Whatever the sizes, strides and dtypes, a rewritten graph gives eager's bits."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph

from inference.compiler.backend import trace
from inference.compiler.families import FAMILIES, Size
from inference.compiler.match import find
from inference.compiler.parity import same_bits
from inference.compiler.plan import Plan, rewrite

DTYPES = st.sampled_from([torch.bfloat16, torch.float16, torch.float32])


def rewritten(function: Any, *args: Tensor) -> tuple[Any, Plan]:
    """Trace a function of tensors on shapes and rewrite it."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad():
        module = trace(function, [mode.from_tensor(one) for one in args])
        return module, rewrite(module)


@settings(max_examples=12, deadline=None)
@given(
    depth=st.integers(1, 3),
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([8, 10, 24]),
    text=st.integers(2, 9),
    batch=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 5), st.integers(2, 5)),
    dtype=DTYPES,
)
def test_a_transformer_of_any_shape_keeps_its_bits(
    depth: int,
    heads: int,
    head_dim: int,
    text: int,
    batch: int,
    sides: tuple[int, int],
    dtype: torch.dtype,
) -> None:
    family = FAMILIES["flux-1-dev"]
    size = Size(batch, 1, *sides, text)
    rotary = (head_dim - 4, 2, 2)
    module = family.build(
        dtype=dtype, num_layers=depth, num_single_layers=depth, attention_head_dim=head_dim,
        num_attention_heads=heads, axes_dims_rope=rotary,
    )  # fmt: skip
    inputs = family.example(size, dtype=dtype)
    names = [name for name, one in inputs.items() if isinstance(one, Tensor)]

    def forward(*tensors: Tensor) -> Tensor:
        made: Tensor = module(**inputs | dict(zip(names, tensors, strict=True)))[0]
        return made

    ours, plan = rewritten(forward, *(inputs[name] for name in names))
    sites = {letter: row.sites for letter, row in plan.report.patterns.items()}
    assert sites == {
        "A": 6 * depth, "B": 5 * depth + 1, "C": 5 * depth, "D": 3 * depth, "E": 5 * depth,
        "F": 0, "G": 0,
    }  # fmt: skip
    assert same_bits(ours(*(inputs[name] for name in names)), forward(*(inputs[n] for n in names)))


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(2, 7),
    dtype=DTYPES,
    turned=st.booleans(),
    affine=st.booleans(),
    per_token=st.booleans(),
    wide=st.booleans(),
)
def test_modulation_of_any_spelling_keeps_its_bits(
    batch: int,
    tokens: int,
    dtype: torch.dtype,
    turned: bool,
    affine: bool,
    per_token: bool,
    wide: bool,
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 24, tokens).to(dtype).mT if turned else torch.randn(batch, tokens, 24)
    scale, shift = torch.randn(2, batch, tokens if per_token else 1, 24).unbind()
    norm = nn.LayerNorm(24, elementwise_affine=affine, dtype=torch.float32 if wide else dtype)
    norm.requires_grad_(False)

    def forward(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        if wide:
            return (norm(x.float()) * (1 + scale) + shift).type_as(x)
        return shift + (scale + 1) * norm(x)

    args = (x.to(dtype), scale, shift) if wide else (x.to(dtype), scale.to(dtype), shift.to(dtype))
    ours, plan = rewritten(forward, *args)
    assert plan.report.templates == {"modulate": 1}
    assert same_bits(ours(*args), forward(*args))


def traced(function: Any, *args: Tensor) -> Graph:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    return trace(function, [mode.from_tensor(one) for one in args]).graph


X, GATE = torch.ones(1, 4, 8), torch.ones(1, 1, 8)


def test_a_value_that_others_need_is_not_fused_away() -> None:
    def forward(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        y = nn.functional.linear(x, torch.ones(8, 8))
        gated = gate * y
        return x + gated, gated * 2

    assert [match.template for match in find(traced(forward, X, GATE))] == [""]


def test_a_sum_that_feeds_its_own_scale_is_fused_in_two() -> None:
    def forward(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        x = x + gate * nn.functional.linear(x, torch.ones(8, 8))
        scale = x.mean(1, keepdim=True)  # a path from the sum back into the modulation
        return x, nn.functional.layer_norm(x, (8,)) * (1 + scale) + gate

    found = find(traced(forward, X, GATE))
    assert [match.template for match in found] == ["gated_residual", "modulate"]


def test_a_tensor_that_is_written_into_is_left_alone() -> None:
    def forward(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        base = x.clone()
        y = base + gate * nn.functional.linear(x, torch.ones(8, 8))
        base.add_(1)
        return y, base

    assert [match.template for match in find(traced(forward, X, GATE))] == [""]


def test_a_product_rounded_before_a_wider_sum_is_not_taken_for_a_gated_residual() -> None:
    def forward(x: Tensor, gate: Tensor) -> Tensor:
        y = nn.functional.linear(x, torch.ones(8, 8, dtype=torch.bfloat16))
        return x.float() + gate * y

    assert [one.template for one in find(traced(forward, X.bfloat16(), GATE.bfloat16()))] == [""]
