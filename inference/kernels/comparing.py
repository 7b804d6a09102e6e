"""How near two results are: the same bits, or no farther from the truth than eager is.

The truth is the reference in fp32 on the same numbers. Used by the tests and by the command that
shows on a GPU what each kernel is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)


def widened(value: Any) -> Any:
    """The same arguments in fp32."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in HALVES else value
    if isinstance(value, list | tuple):
        return type(value)(map(widened, value))
    return torch.float32 if value in HALVES else value


def each(results: Any) -> list[Tensor]:
    """A template's results as a list."""
    return list(results) if isinstance(results, list | tuple) else [results]


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal, signs of zeros included; where one is no number, so is the other."""
    nan = a.isnan()
    signs = torch.signbit(a) == torch.signbit(b)
    same = ((a == b) & signs) | (nan & b.isnan())
    return a.shape == b.shape and a.dtype == b.dtype and bool(same.all())


def differing(a: Tensor, b: Tensor) -> float:
    """Share of numbers that are not the same."""
    return float((a != b).float().mean())


def error(got: Any, truth: Any) -> float:
    """Relative L2 distance, the worst over all results."""
    return max(
        float((a.double() - b.double()).norm() / b.double().norm())
        for a, b in zip(each(got), each(truth), strict=True)
    )


def errors(
    run: Callable[..., Any], reference: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[float, float]:
    """Relative L2 error of `run` and of eager, both against fp32."""
    truth = reference(*widened(arguments))
    return error(run(*arguments), truth), error(reference(*arguments), truth)
