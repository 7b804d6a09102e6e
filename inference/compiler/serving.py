"""What a served model runs on: eager, or plans, as the operator says; and what that came to.

KINORA_WORKER_PLAN is `auto`, `eager`, `templates` or `fp8` (E2, approximate). `auto` is templates
on a GPU and eager on a CPU, where a traced network gains 2 % and costs four seconds at the first
run (docs/benchmarks/engine-log.md).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from inference.compiler.backend import Compiler, accelerate, repeated
from inference.kernels import Exactness
from inference.wire import Plan

GRAPHS = 64  # of one class of blocks: batches, words and adapters come in few forms
CHOICES = ("auto", "eager", "templates", "fp8")


def chosen(device: str) -> str:
    """Read what networks on a device are to run on.  Raises ValueError."""
    told = os.environ.get("KINORA_WORKER_PLAN") or "auto"
    if told not in CHOICES:
        raise ValueError(f"KINORA_WORKER_PLAN is {told!r}; it may be {', '.join(CHOICES)}")
    if told == "auto":
        return "eager" if device == "cpu" else "templates"
    return told


def serve(model: Any, device: str) -> list[Compiler]:
    """Have a family's networks run on plans, in place.  → their compilers; none for eager.

    On a CPU a whole network is one graph, in which references stay as they were traced: that saves
    Python's way through modules, and templates would only add calls.
    """
    how = chosen(device)
    if how == "eager":
        return []
    allow, cpu = Exactness.E2 if how == "fp8" else Exactness.E1, device == "cpu"
    if cpu and how != "fp8":
        return [accelerate(one, allow, whole=True, inline=True) for one in networks(model)]
    # What dynamo cannot follow runs as it is: a run must not fail for want of speed.
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = GRAPHS
    return [accelerate(one, allow, strict=False) for one in [*networks(model), *decoders(model)]]


def decoders(model: Any) -> list[nn.Module]:
    """Give a family's VAE if it has residual blocks, or norms, which plans know."""
    vae = getattr(model, "vae", None)
    return [vae] if isinstance(vae, nn.Module) and repeated(vae) else []


def networks(model: Any) -> list[nn.Module]:
    """Give a family's denoisers: what it calls `network`, and parts that name repeated blocks."""
    parts = [*getattr(model, "parts", {}).values(), *vars(model).values()]
    named = [one for one in parts if getattr(type(one), "_repeated_blocks", None)]
    found = [getattr(model, "network", None), *named]
    return list({id(one): one for one in found if isinstance(one, nn.Module)}.values())


def told(compilers: list[Compiler]) -> Plan:
    """Say what ran: the receipt's words."""
    each = [one.summary() for one in compilers]
    names = {one["name"] for one in each} or {"eager"}
    exactness = max((one["exactness"] for one in each), default=str(Exactness.E0))
    return Plan(names.pop() if len(names) == 1 else "templates in part", exactness)
