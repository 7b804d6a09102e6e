"""The approximate tier: how rows are quantised, and how near a product comes."""

from __future__ import annotations

import os

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run by test_interpreter.py, in a process of its own", allow_module_level=True)

from inference.kernels.comparing import error
from inference.kernels.fp8 import linear_fp8, quantize
from inference.kernels.fused import FUSED
from inference.kernels.specimens import APPROXIMATE, Draw, Specimen


@pytest.mark.parametrize("specimen", APPROXIMATE, ids=lambda one: one.name)
def test_rows_get_the_reference_s_scales_and_numbers(specimen: Specimen) -> None:
    """The interpreter forgets the carry of a mantissa that rounds up, and numbers near zero."""
    given = specimen.arguments(Draw("cpu", torch.float16), specimen.size.shrunk())
    got, scales = FUSED[specimen.template](*given)
    wanted, wanted_scales = FUSED[specimen.template].template.reference(*given)
    assert got.dtype == wanted.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(scales, wanted_scales, rtol=2e-3, atol=0)
    bits, own = wanted.view(torch.uint8).int(), got.view(torch.uint8).int()
    sure = (bits & 0x07 != 0) & (bits & 0x78 != 0)
    assert (own - bits)[sure].abs().max() <= 1
    assert (own != bits)[sure].float().mean() <= 0.02


def test_a_row_of_zeros_stays_zeros() -> None:
    quantized, scale = FUSED["quantize"](torch.zeros(2, 3, 64))
    assert not quantized.float().any()
    assert scale.isfinite().all()


def test_a_layer_s_product_is_a_few_percent_from_the_truth() -> None:
    random = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 9, 96, generator=random), torch.randn(48, 96, generator=random)
    bias = torch.randn(48, generator=random).bfloat16()
    product = linear_fp8.op(*quantize.op(x), *quantize.op(weight), bias, torch.bfloat16)
    assert product.shape == (2, 9, 48)
    assert error(product, torch.nn.functional.linear(x, weight, bias.float())) < 0.04
