"""What a served model runs on: eager, or plans, as the operator says; and what that came to.

KINORA_WORKER_PLAN is `auto`, `eager`, `templates`, `graphs` (templates, replayed as CUDA graphs)
or `fp8` (E2, approximate). `auto` is templates on a GPU and eager on a CPU, where a traced network
gains 2 % and costs four seconds at the first run (docs/benchmarks/engine-log.md).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from inference.compiler.backend import GRAPHS as REPLAYED
from inference.compiler.backend import Compiler, accelerate, repeated
from inference.compiler.graphs import Graphed
from inference.kernels import Exactness
from inference.models.family import Hoisted
from inference.wire import Plan

GRAPHS = 64  # of one class of blocks: batches, words and adapters come in few forms
CHOICES = ("auto", "eager", "templates", "graphs", "fp8")


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
    made = [accelerate(one, allow, strict=False) for one in [*networks(model), *decoders(model)]]
    for one in decoders(model):
        lay_out(one)
    if how == "graphs":
        for compiler, network in zip(made, networks(model), strict=False):
            compiler.graphed = replayed(network, device)
    return made


def lay_out(vae: nn.Module) -> None:
    """Lay a picture VAE's weights with channels as neighbours: convolutions then keep them so.

    A VAE of clips stays as it is: what its convolutions cost in that layout is not known yet.
    """
    weights = list(vae.parameters())
    if any(weight.ndim > 4 for weight in weights):
        return
    for weight in weights:
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


def replayed(network: Any, device: str) -> Graphed:
    """Have a network's forwards replayed as CUDA graphs, in place."""
    forward = network.forward

    def call(**given: Any) -> Tensor:
        output: Tensor = forward(**given)[0]
        return output

    def beside() -> Any:
        held = [part for part in network.modules() if isinstance(part, Hoisted)]
        sizes = tuple(repr(part.size) for part in held)
        return sizes, [list(part.tables.values()) for part in held]

    graphed = Graphed(call, device, beside=beside)
    network.forward = lambda **given: (graphed(**given),)
    return graphed


def leaving(compilers: list[Compiler]) -> None:
    """Drop what reads weights where they are now."""
    for one in compilers:
        if one.graphed is not None:
            one.graphed.forget()


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
    names = {one["name"].removesuffix(REPLAYED) for one in each} or {"eager"}
    replayed = REPLAYED if any(one["name"].endswith(REPLAYED) for one in each) else ""
    exactness = max((one["exactness"] for one in each), default=str(Exactness.E0))
    name = names.pop() if len(names) == 1 else "templates in part"
    return Plan(name + replayed, exactness)
