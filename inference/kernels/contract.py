"""What a kernel template is: an exact reference in torch, and a custom op that may be faster.

The compiler (`inference/compiler`) replaces chains of ATen operators by `Template.op`. On a CPU
and on shapes alone the op is its reference; a template's file registers a CUDA kernel beside it.
The kernel must return what the reference returns: shapes, dtypes, strides and, within the
template's class, values. Knows nothing of graphs or models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

Reference = Callable[..., Any]


class Exactness(StrEnum):
    """How near to eager; printed beside every claim of speed."""

    E0 = "E0"  # the same bits
    E1 = "E1"  # the same mathematics, rounded or summed otherwise
    E2 = "E2"  # approximate, opt-in
    E3 = "E3"  # another model


@dataclass(frozen=True)
class Template:
    """One fused operator.

    `letters`: the patterns that it replaces, for reports (A QK-norm and RoPE, B modulate, C gated
    residual, D activation, E concatenation, F plain norm, G group or channel norm).
    `exactness`: of the CUDA kernel; the reference itself reproduces eager bit for bit.
    """

    name: str
    letters: str
    exactness: Exactness
    reference: Reference
    op: Any


def template(letters: str, exactness: Exactness) -> Callable[[Reference], Template]:
    """Turn a reference function into the template `kinora::<its name>`.

    Its arguments' annotations become the op's schema; it must not return a view of an input.
    """

    def build(reference: Reference) -> Template:
        name = reference.__name__
        op = torch.library.custom_op(f"kinora::{name}", reference, mutates_args=())
        op.register_fake(reference)
        return Template(name, letters, exactness, reference, op)

    return build
