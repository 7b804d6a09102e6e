"""Where a kernel's operands lie: merging dimensions, and outputs shaped as the reference's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

Run = tuple[int, tuple[int, ...]]  # a size, and the step of each tensor


def merge(*tensors: Tensor, outer: int) -> list[Tensor]:
    """View tensors of one shape (…, D) as ones of `outer` dimensions and D, for kernels on rows.

    Dimensions merge where they lie behind one another in every tensor; the largest of those that
    are left comes just before D, whatever its place was: rows know nothing of one another.
    """
    return viewed(*tensors, outer=outer, runs=runs(tensors, range(tensors[0].ndim - 1)), last=-1)


def merge_all(*tensors: Tensor, outer: int) -> list[Tensor]:
    """The same for kernels on single numbers: D grows by what lies behind it in every tensor."""
    *rest, last = runs(tensors, range(tensors[0].ndim))
    return viewed(*tensors, outer=outer, runs=rest, last=last)


def runs(tensors: Sequence[Tensor], dims: Sequence[int]) -> list[Run]:
    """Size and steps of what is left of `dims` after merging."""
    found: list[Run] = []
    for d in reversed(dims):
        size, steps = tensors[0].shape[d], tuple(x.stride(d) for x in tensors)
        if found and tuple(step * found[0][0] for step in found[0][1]) == steps:
            found[0] = size * found[0][0], found[0][1]
        elif size > 1 or not found:
            found.insert(0, (size, steps))
    return found


def viewed(*tensors: Tensor, outer: int, runs: list[Run], last: Run | int) -> list[Tensor]:
    """The views that `runs` and the last dimension tell."""
    first = tensors[0]
    width = (first.shape[-1], (1,) * len(tensors)) if isinstance(last, int) else last
    order = sorted((one for one in runs if one[0] > 1), key=lambda one: one[0])
    if len(order) > outer:
        raise ValueError(f"{len(order)} dimensions are left of {tuple(first.shape)}, not {outer}")
    each = [(1, (0,) * len(tensors))] * (outer - len(order)) + order + [width]
    shape = [size for size, _ in each]
    return [x.as_strided(shape, [steps[i] for _, steps in each]) for i, x in enumerate(tensors)]


def empty_results(reference: Callable[..., Any], *arguments: Any) -> Any:
    """Unwritten tensors of the shapes, strides and dtypes that `reference` would return."""
    device = next(one.device for one in _flat(arguments) if isinstance(one, Tensor))
    several, made = _results(reference, _key(arguments))
    tensors = [
        torch.empty_strided(shape, stride, dtype=dtype, device=device)
        for shape, stride, dtype in made
    ]
    return tuple(tensors) if several else tensors[0]


def _flat(values: Sequence[Any]) -> list[Any]:
    return [b for a in values for b in (_flat(a) if isinstance(a, list | tuple) else [a])]


def _key(value: Any) -> Any:
    if isinstance(value, Tensor):
        return (Tensor, tuple(value.shape), value.stride(), value.dtype)
    return tuple(map(_key, value)) if isinstance(value, list | tuple) else value


def _meta(key: Any) -> Any:
    if isinstance(key, tuple) and key and key[0] is Tensor:
        return torch.empty_strided(key[1], key[2], dtype=key[3], device="meta")
    return [_meta(one) for one in key] if isinstance(key, tuple) else key


@lru_cache(maxsize=4096)
def _results(reference: Callable[..., Any], key: Any) -> tuple[bool, list[Any]]:
    """Whether there are several results, and (shape, stride, dtype) of each."""
    results = reference(*_meta(key))
    several = isinstance(results, tuple)
    each = results if several else (results,)
    return several, [(tuple(one.shape), one.stride(), one.dtype) for one in each]
