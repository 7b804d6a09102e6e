"""Every kernel on a GPU against its reference there.

    python -m pytest -c tests/gpu/pytest.ini tests/gpu

needs torch, Triton and pytest, neither Django nor a database.
"""

from __future__ import annotations

import pytest
import torch

from inference.kernels.comparing import differing, each, error, errors, same_bits
from inference.kernels.contract import Exactness
from inference.kernels.fp8 import linear_fp8, quantize
from inference.kernels.fused import FUSED, refused
from inference.kernels.language import rounding
from inference.kernels.specimens import APPROXIMATE, SPECIMENS, Draw, Specimen

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
every = pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda one: one.name)


@every
def test_a_kernel_is_within_its_class(specimen: Specimen) -> None:
    """E0: the same bits. E1: at most 1.1 times eager's own error against fp32."""
    fused = FUSED[specimen.template]
    given = specimen.arguments(Draw("cuda"))
    before = refused.total()
    got, wanted = each(fused.template.op(*given)), each(fused.template.reference(*given))
    assert refused.total() == before
    for a, b in zip(got, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if fused.template.exactness == Exactness.E0:
            assert same_bits(a, b)
        else:
            assert differing(a, b) <= 0.01
    ours, eager = errors(fused.template.op, fused.template.reference, given)
    assert ours <= 1.1 * eager


@every
def test_fp32_inside_is_no_farther_from_the_truth_than_eager(specimen: Specimen) -> None:
    fused = FUSED[specimen.template]
    with rounding(replicate=False):
        ours, eager = errors(
            fused.template.op, fused.template.reference, specimen.arguments(Draw("cuda"))
        )
    assert ours <= 1.1 * eager


@every
def test_a_kernel_can_be_captured_into_a_graph(specimen: Specimen) -> None:
    op, given = FUSED[specimen.template].template.op, specimen.arguments(Draw("cuda"))
    wanted = [one.clone() for one in each(op(*given))]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = each(op(*given))
    graph.replay()
    torch.cuda.synchronize()
    assert all(map(same_bits, results, wanted))


@pytest.mark.parametrize("specimen", APPROXIMATE, ids=lambda one: one.name)
def test_rows_are_quantised_as_the_reference_does(specimen: Specimen) -> None:
    fused, given = FUSED[specimen.template], specimen.arguments(Draw("cuda"))
    (got, scale), (wanted, wanted_scale) = (
        fused.template.op(*given),
        fused.template.reference(*given),
    )
    assert differing(scale, wanted_scale) <= 0.01
    assert differing(got.view(torch.uint8), wanted.view(torch.uint8)) <= 0.01


def test_a_product_in_fp8_is_a_few_percent_from_the_truth() -> None:
    make = Draw("cuda").maker()
    x, weight, bias = make(1, 512, 3072), make(12288, 3072, spread=0.02), make(12288)
    product = linear_fp8.op(*quantize.op(x), *quantize.op(weight), bias, torch.bfloat16)
    truth = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    assert error(product, truth) < 0.04
