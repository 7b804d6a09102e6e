"""One call from a module to a program that may be used: capture, plan, prove, keep.

For what is served as one graph (a VAE, a small model, a benchmark's block); models with repeated
blocks go through `backend.accelerate`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inference.compiler import cache, parity
from inference.compiler.capture import capture, sign
from inference.compiler.plan import rewrite
from inference.kernels import Exactness


class Refused(Exception):
    """A plan's exactness class is not allowed here."""


@dataclass(frozen=True)
class Program:
    """A rewritten module, its plan as JSON, and how near to eager it was found to be."""

    run: Callable[..., Any]
    plan: dict[str, Any]


def compile_module(
    module: nn.Module,
    inputs: dict[str, Any],
    *,
    dynamic: dict[str, Any] | None = None,
    allow: Exactness = Exactness.E1,
    kept: cache.Cache | None = None,
) -> Program:
    """Compile a module for keyword inputs like these, or read it from the cache.

    allow: the loosest class that may be used. On a CPU every plan is E0.
    Raises Refused before anything runs, ParityError where the program is not what it claims.
    """
    name = cache.key(dict(getattr(module, "config", {})), inputs, dynamic)
    if kept and (found := kept.get(name)):
        program, plan = found
        return Program(program.module(), plan)
    program = capture(module, inputs, dynamic)
    made = rewrite(program.graph_module)
    sign(program)
    exactness = made.report.exactness if on_gpu(inputs) else Exactness.E0
    if exactness > allow:
        raise Refused(f"the plan is {exactness}; at most {allow} is allowed")
    measured = prove(module, program.module(), inputs, exactness)
    plan = made.as_json() | {"parity": asdict(measured)}
    if kept:
        kept.put(name, program, plan)
    return Program(program.module(), plan)


def prove(
    module: nn.Module, program: nn.Module, inputs: dict[str, Any], exactness: Exactness
) -> parity.Parity:
    """Run both on the same inputs; a float32 copy decides where they differ."""
    with torch.no_grad():
        eager, ours = (first(run(**inputs)) for run in (module, program))
        if exactness == Exactness.E0 or parity.same_bits(ours, eager):
            return parity.check(exactness, ours, eager, None)
        exact = copy.deepcopy(module).float()
        return parity.check(exactness, ours, eager, first(exact(**in_float32(inputs))))


def first(output: Any) -> Tensor:
    """Take the tensor out of what a module returns."""
    found: Tensor = output[0] if isinstance(output, tuple | list) else output
    return found


def in_float32(inputs: dict[str, Any]) -> dict[str, Any]:
    """Widen floating tensors."""
    return {
        name: one.float() if isinstance(one, Tensor) and one.is_floating_point() else one
        for name, one in inputs.items()
    }


def on_gpu(inputs: dict[str, Any]) -> bool:
    """Tell whether any input lies on a GPU."""
    return any(isinstance(one, Tensor) and one.is_cuda for one in inputs.values())
