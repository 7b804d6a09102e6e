"""Views that merge dimensions reach the same numbers, in the same order for every tensor."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.kernels.strides import empty_results, merge, merge_all

shapes = st.lists(st.integers(1, 4), min_size=2, max_size=4)


def laid_out(shape: list[int], order: list[int], gap: int) -> Tensor:
    """A tensor of `shape` whose outer dimensions lie in memory in some order, with gaps."""
    inner = [shape[d] for d in order] + [shape[-1] + gap]
    whole = torch.arange(int(torch.Size(inner).numel())).reshape(inner)[..., : shape[-1]]
    back = [order.index(d) for d in range(len(order))] + [len(order)]
    return whole.permute(back)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two tensors of one shape, each laid out in its own way."""
    shape = draw(shapes)
    outer = list(range(len(shape) - 1))
    made = [laid_out(shape, draw(st.permutations(outer)), draw(st.integers(0, 2))) for _ in "ab"]
    return made[0], made[1]


@settings(deadline=None, max_examples=60)
@given(pairs())
def test_merged_views_pair_the_same_numbers(both: tuple[Tensor, Tensor]) -> None:
    wanted = set(zip(*(one.flatten().tolist() for one in both), strict=True))
    for merging in (merge, merge_all):
        views = merging(*both, outer=3)
        assert {view.ndim for view in views} == {4}
        assert views[0].shape == views[1].shape
        assert [view.stride(-1) for view in views] == [1, 1] or views[0].shape[-1] == 1
        assert set(zip(*(one.flatten().tolist() for one in views), strict=True)) == wanted


@settings(deadline=None, max_examples=60)
@given(pairs())
def test_rows_stay_whole_and_the_longest_dimension_comes_before_them(
    both: tuple[Tensor, Tensor],
) -> None:
    views = merge(*both, outer=3)
    assert views[0].shape[-1] == both[0].shape[-1]
    assert views[0].shape[-2] == max(views[0].shape[:-1])


def test_one_contiguous_tensor_becomes_one_row() -> None:
    (view,) = merge_all(torch.empty(2, 3, 4), outer=3)
    assert view.shape == (1, 1, 1, 24)


def test_results_are_shaped_as_the_reference_s() -> None:
    def reference(x: Tensor, parts: list[Tensor], name: str) -> tuple[Tensor, Tensor]:
        return x.transpose(0, 1), torch.cat(parts).half()

    x, parts = torch.empty(2, 3), [torch.empty(1, 4), torch.empty(2, 4)]
    first, second = empty_results(reference, x, parts, "any")
    assert (first.shape, first.stride(), first.dtype) == ((3, 2), (1, 3), torch.float32)
    assert (second.shape, second.stride(), second.dtype) == ((3, 4), (4, 1), torch.float16)
