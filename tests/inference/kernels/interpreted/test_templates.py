"""Every template's kernel against its reference; runs where TRITON_INTERPRET=1 was set first.

Grids are small: the interpreter takes some milliseconds for each program.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run by test_interpreter.py, in a process of its own", allow_module_level=True)

from inference.kernels.comparing import differing, each, error, same_bits, widened
from inference.kernels.fused import FUSED, refused
from inference.kernels.language import rounding
from inference.kernels.specimens import SPECIMENS, Draw, Specimen
from tests.inference.kernels.truncating import Truncating

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
DIFFERENT = {(one.template, str(one.build)): one for one in SPECIMENS}  # when shrunk
every = pytest.mark.parametrize("specimen", DIFFERENT.values(), ids=lambda one: one.name)


def arguments(specimen: Specimen, dtype: torch.dtype) -> tuple[Any, ...]:
    return specimen.arguments(Draw("cpu", dtype), specimen.size.shrunk())


def eager(specimen: Specimen, given: tuple[Any, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    with Truncating() if dtype == torch.bfloat16 else nullcontext():
        return each(FUSED[specimen.template].template.reference(*given))


@every
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_kernel_rounds_where_eager_rounds(specimen: Specimen, dtype: torch.dtype) -> None:
    given = arguments(specimen, dtype)
    wanted = eager(specimen, given, dtype)
    before = refused.total()
    got = each(FUSED[specimen.template](*given))
    assert refused.total() == before
    for a, b in zip(got, wanted, strict=True):
        assert (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)
        if dtype == torch.float32:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-5)
        elif specimen.template == "gated_residual":
            assert same_bits(a, b)
        else:  # sums run in another order: a few numbers fall to the other side of a rounding
            assert differing(a, b) <= 0.005


@every
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_fp32_inside_is_no_farther_from_the_truth_than_eager(
    specimen: Specimen, dtype: torch.dtype
) -> None:
    given = arguments(specimen, dtype)
    truth = FUSED[specimen.template].template.reference(*widened(given))
    with rounding(replicate=False):
        got = FUSED[specimen.template].run(*given)
    assert error(got, truth) <= 1.1 * error(eager(specimen, given, dtype), truth)


def odd_rows(dtype: torch.dtype) -> torch.Tensor:
    """Rows of zeros of both signs, of infinities, of no numbers, and of plain ones."""
    x = torch.randn(1, 5, 48).to(dtype)
    x[0, 0], x[0, 1] = -0.0, 0.0
    x[0, 2, 7], x[0, 2, 8], x[0, 3, 5] = float("inf"), float("-inf"), float("nan")
    return x


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, which computes for Triton here
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_signs_of_zero_infinities_and_nan_pass_as_in_eager(dtype: torch.dtype) -> None:
    x, y, gate = odd_rows(dtype), odd_rows(dtype).flip(1), torch.randn(1, 1, 48).to(dtype)
    same = [
        ("gated_residual", (x, y, gate, dtype, dtype)),
        ("concat", ([x, y], [None, None], "none,none", 1)),
        ("concat", ([x, y], [None, None], "none,none", 2)),
    ]
    for name, given in same:
        assert same_bits(FUSED[name](*given), FUSED[name].template.reference(*given))
    near = [
        ("norm", (x, None, None, 1e-6, "layer", dtype, dtype)),
        ("modulate", (x, None, None, gate, gate, 1e-6, "rms32", dtype, dtype, dtype)),
        ("activation", (x, None, "silu")),
        ("activation", (x, y, "gelu_tanh")),
        ("channel_norm_silu", (x, None, 1e-12, "unit", 2.0, False)),
        ("channel_norm_silu", (x.mT, None, 1e-12, "unit", 2.0, True)),
        ("channel_norm_silu", (x.mT, None, 1e-8, "rms32", 1.0, True)),
    ]
    for name, given in near:
        got, wanted = FUSED[name](*given), FUSED[name].template.reference(*given)
        torch.testing.assert_close(got, wanted, equal_nan=True)


def test_what_a_kernel_cannot_read_goes_to_the_reference_and_is_counted() -> None:
    apart = torch.randn(1, 1, 96)[..., ::2]
    given = torch.randn(1, 4, 48), torch.randn(1, 4, 48), apart, torch.float32, torch.float32
    before = refused["gated_residual"]
    got = FUSED["gated_residual"](*given)
    assert same_bits(got, FUSED["gated_residual"].template.reference(*given))
    assert refused["gated_residual"] == before + 1


def test_transposed_rows_become_neighbours() -> None:
    x, y = torch.randn(2, 48, 4).transpose(1, 2), torch.randn(2, 4, 48)
    gate = torch.randn(2, 1, 48)
    given = x, y, gate, torch.float32, torch.float32
    got, wanted = (
        FUSED["gated_residual"](*given),
        FUSED["gated_residual"].template.reference(*given),
    )
    assert same_bits(got, wanted)
    assert got.is_contiguous()
    assert wanted.is_contiguous()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dim", [1, 2])
def test_heads_lie_before_or_behind_tokens(turned: bool, dim: int) -> None:
    shapes = [(2, 5, 3, 16), (2, 5, 3, 16)]
    parts = [
        torch.randn(shape).transpose(1, 2) if turned else torch.randn(shape) for shape in shapes
    ]
    given = parts, [torch.randn(16), None], [], [], 1e-6, "layer", "none", 0, dim
    got, wanted = FUSED["qk_norm_rope"](*given), FUSED["qk_norm_rope"].template.reference(*given)
    torch.testing.assert_close(got, wanted)
    assert got.stride() == wanted.stride()


@pytest.mark.parametrize("shape", [(2, 7, 1, 3, 5), (1, 1, 2, 3, 5), (3, 40, 4, 6)], ids=str)
@pytest.mark.parametrize("kind", ["unit", "rms32"])
@pytest.mark.parametrize("last", [False, True])
def test_a_clip_of_one_frame_or_channel_and_a_picture_are_normed_alike(
    shape: tuple[int, ...], kind: str, last: bool
) -> None:
    layout = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    x = torch.randn(shape).to(memory_format=layout if last else torch.contiguous_format)
    weight = torch.randn(shape[1], *(1,) * (len(shape) - 2) if kind == "unit" else ())
    given = x, weight, 1e-8, kind, shape[1] ** 0.5, False
    before = refused.total()
    got = FUSED["channel_norm_silu"](*given)
    wanted = FUSED["channel_norm_silu"].template.reference(*given)
    assert refused.total() == before
    torch.testing.assert_close(got, wanted)
    assert got.stride() == wanted.stride()


def test_some_frames_of_a_clip_go_to_the_reference() -> None:
    x = torch.randn(1, 8, 5, 4, 4)[:, :, 1:3]
    given = x[..., ::2], None, 1e-8, "unit", 2.0, True
    before = refused["channel_norm_silu"]
    got = FUSED["channel_norm_silu"](*given)
    assert same_bits(got, FUSED["channel_norm_silu"].template.reference(*given))
    assert refused["channel_norm_silu"] == before + 1
