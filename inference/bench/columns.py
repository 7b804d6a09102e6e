"""The columns of the table: how one denoiser can be run, each prepared over the same weights.

A column that cannot be prepared raises, and the table says why. Peers are run where they can be
imported, with settings that keep the mathematics; what is approximate says E2.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from inference import attention
from inference.bench.cases import twin
from inference.compiler.backend import Compiler, accelerate, repeated
from inference.compiler.families import restore
from inference.compiler.graphs import Graphed
from inference.compiler.hoist import hoist
from inference.kernels import Exactness
from inference.kernels.fused import refused
from inference.kernels.language import rounding

Run = Callable[[], Tensor]
Inputs = dict[str, Any]
E0, E1, E2 = Exactness.E0, Exactness.E1, Exactness.E2


class Absent(Exception):
    """There is nothing here for this column."""


@dataclass
class Ready:
    """A column that can be run: its model, one forward, and the compiler if it is ours."""

    model: nn.Module
    run: Run
    compiler: Compiler | None = None
    said: list[str] = field(default_factory=list)  # what a reader must know of it
    graphed: Graphed | None = None


@dataclass(frozen=True)
class Column:
    """One way to run: its class beside eager, whether attention is chosen, who must be there."""

    exactness: Exactness
    prepare: Callable[[nn.Module, Inputs], Ready]
    chosen: bool = True
    needs: str = ""


def plain(model: nn.Module, inputs: Inputs) -> Ready:
    """Run the model as it is."""
    return Ready(model, lambda: model(**inputs)[0])


def compiled(mode: str | None) -> Callable[[nn.Module, Inputs], Ready]:
    """torch.compile of the same blocks that we compile."""

    def prepare(model: nn.Module, inputs: Inputs) -> Ready:
        model = twin(model)
        names = repeated(model)
        for block in model.modules():
            if type(block).__name__ in names:
                block.compile(fullgraph=True, mode=mode)
        return plain(model, inputs)

    return prepare


_planned: WeakKeyDictionary[nn.Module, dict[Exactness, Ready]] = WeakKeyDictionary()


def planned(allow: Exactness) -> Callable[[nn.Module, Inputs], Ready]:
    """Our plan with eager's roundings; a second column of a class shares the first one's."""

    def prepare(model: nn.Module, inputs: Inputs) -> Ready:
        made = _planned.setdefault(model, {})
        if allow not in made:
            other = twin(model)
            hoist(other)
            compiler = accelerate(other, allow)
            made[allow] = Ready(other, lambda: other(**inputs)[0], compiler)
        return replace(made[allow], said=[])

    return prepare


def captured(allow: Exactness) -> Callable[[nn.Module, Inputs], Ready]:
    """The same, replayed as a CUDA graph."""

    def prepare(model: nn.Module, inputs: Inputs) -> Ready:
        ready = planned(allow)(model, inputs)
        device = str(next(model.parameters()).device)
        graphed = Graphed(lambda **given: ready.model(**given)[0], device)
        return replace(ready, run=lambda: graphed(**inputs), graphed=graphed)

    return prepare


def channels_last(model: nn.Module, inputs: Inputs) -> Ready:
    """Our plan with pictures' channels as neighbours, replayed as a CUDA graph."""
    if not any(isinstance(one, nn.Conv2d) and one.weight.shape[-1] > 1 for one in model.modules()):
        raise Absent("no convolution here looks at neighbours")
    other = twin(model)
    for name, weight in list(other.named_parameters()):
        if weight.ndim == 4:
            owner, _, leaf = name.rpartition(".")
            laid = weight.contiguous(memory_format=torch.channels_last)
            restore(other.get_submodule(owner), leaf, laid)
    given = {name: laid_out(one) for name, one in inputs.items()}
    return captured(E1)(other, given)


def laid_out(value: Any) -> Any:
    """Lay a picture out with its channels as neighbours."""
    picture = isinstance(value, Tensor) and value.ndim == 4
    return value.contiguous(memory_format=torch.channels_last) if picture else value


def inside(model: nn.Module, inputs: Inputs) -> Ready:
    """Our plan, with float32 inside each kernel."""
    ready = planned(E1)(model, inputs)
    return replace(ready, run=under(lambda: rounding(replicate=False), ready.run))


def cache_dit(model: nn.Module, inputs: Inputs) -> Ready:
    """cache-dit's compile settings, without its cache, which would be approximate."""
    importlib.import_module("cache_dit").set_compile_configs()
    return compiled(None)(model, inputs)


def liger(model: nn.Module, inputs: Inputs) -> Ready:
    """liger-kernel's norms in place of modules that are the same mathematics."""
    found = importlib.import_module("liger_kernel.transformers")
    model = twin(model)
    count = 0
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if other := ligered(found, child):
                setattr(owner, name, other)
                count += 1
    if not count:
        raise Absent("no module here has a counterpart in liger-kernel")
    return Ready(model, lambda: model(**inputs)[0], said=[f"{count} modules replaced"])


def ligered(found: Any, child: nn.Module) -> nn.Module | None:
    """Give a norm's counterpart over the same weight, if there is one."""
    weight = getattr(child, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 1:
        return None
    if type(child).__name__ == "RMSNorm":
        made = found.LigerRMSNorm(weight.numel(), eps=getattr(child, "eps", None) or 1e-6)
    elif type(child) is nn.LayerNorm and child.bias is not None:
        made = found.LigerLayerNorm(weight.numel(), eps=child.eps)
        made.bias = child.bias
    else:
        return None
    made.weight = child.weight
    other: nn.Module = made
    return other


def torchao(model: nn.Module, inputs: Inputs) -> Ready:
    """torchao's dynamic rowwise fp8 linears under torch.compile."""
    found = importlib.import_module("torchao.quantization")
    model = twin(model)
    way = found.Float8DynamicActivationFloat8WeightConfig(granularity=found.PerRow())
    found.quantize_(model, way, filter_fn=lambda part, _: fp8able(part))
    return compiled(None)(model, inputs)


def fp8able(part: nn.Module) -> bool:
    """Tell whether a part is a linear layer that fp8 products take."""
    if not isinstance(part, nn.Linear) or part.weight.dtype != torch.bfloat16:
        return False
    return part.in_features % 16 == 0 and part.out_features % 16 == 0


# In the order in which they are prepared: what may take longest comes last.
COLUMNS: dict[str, Column] = {
    "eager": Column(E0, plain, chosen=False),
    "eager, attention": Column(E1, plain),
    "ours": Column(E1, planned(E1)),
    "ours fp32 inside": Column(E1, inside),
    "ours, graph": Column(E1, captured(E1)),
    "ours, graph, channels last": Column(E1, channels_last),
    "ours fp8": Column(E2, planned(E2)),
    "ours fp8, graph": Column(E2, captured(E2)),
    "liger": Column(E1, liger, needs="liger_kernel"),
    "compile default": Column(E1, compiled(None)),
    "cache-dit": Column(E1, cache_dit, needs="cache_dit"),
    "torchao fp8": Column(E2, torchao, needs="torchao"),
    "compile autotuned": Column(E1, compiled("max-autotune-no-cudagraphs")),
}


def prepare(column: Column, model: nn.Module, inputs: Inputs, name: str) -> Ready:
    """Prepare a column and run it once; `name` is the attention that was chosen.

    Raises whatever keeps it from running.
    """
    if column.needs and not importlib.util.find_spec(column.needs):
        raise Absent(f"{column.needs} is not installed")
    before = refused.copy()
    ready = column.prepare(model, inputs)
    if column.chosen:
        ready.run = under(lambda: attention.using(name), ready.run)
    ready.run()
    ready.said += [
        f"fell back: {template} ran its reference {count} times"
        for template, count in (refused - before).items()
    ]
    if ready.compiler:
        ready.said += [f"fell back: {reason}" for reason in ready.compiler.reasons()]
    if ready.graphed and ready.graphed.reason:
        ready.said.append(f"fell back: {ready.graphed.reason}")
    return ready


def under(context: Callable[[], AbstractContextManager[Any]], run: Run) -> Run:
    """Run inside a context."""

    def called() -> Tensor:
        with context():
            return run()

    return called
