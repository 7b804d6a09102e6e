"""One forward watched from inside: its attention's shapes, its arithmetic, one block's inputs."""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from inference.attention import Shapes
from inference.compiler.backend import repeated
from inference.kernels.comparing import HALVES


class Watch(TorchFunctionMode):
    """Notes the shapes of every attention."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.seen = Counter[Shapes]()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Note, and let it happen."""
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            given = dict(zip(("query", "key"), args, strict=False)) | kwargs
            q, k = given["query"], given["key"]
            self.seen[(tuple(q.shape), tuple(k.shape), q.dtype)] += 1
        return func(*args, **kwargs)


@dataclass(frozen=True)
class Probe:
    """What one eager forward showed.

    flops: of products and of attention. block: the path of a block in the middle of the model, and
    what it was called with.
    """

    output: Tensor
    shapes: Shapes
    flops: dict[str, int]
    block: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def probe(model: nn.Module, inputs: dict[str, Any]) -> Probe:
    """Run eager once and look."""
    path, block = middle(model)
    heard: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: heard.append((args, kwargs)), with_kwargs=True
    )
    watch, counter = Watch(), FlopCounterMode(display=False)
    with watch, counter:
        output: Tensor = model(**inputs)[0]
    hook.remove()
    args, kwargs = heard[0]
    largest = max(watch.seen, key=lambda one: math.prod(one[0]) * one[1][-2])
    return Probe(output, largest, arithmetic(counter, watch), path, args, kwargs)


def middle(model: nn.Module) -> tuple[str, nn.Module]:
    """Give the block in the middle of a model's repeated ones, of the class that is there most."""
    names = repeated(model)
    blocks = [(path, one) for path, one in model.named_modules() if type(one).__name__ in names]
    ((most, _),) = Counter(type(one).__name__ for _, one in blocks).most_common(1)
    alike = [(path, one) for path, one in blocks if type(one).__name__ == most]
    return alike[len(alike) // 2]


def arithmetic(counter: FlopCounterMode, watch: Watch) -> dict[str, int]:
    """Floating-point operations of products as counted, and of attention from its shapes."""
    counted = counter.get_flop_counts().get("Global", {})
    products = sum(n for op, n in counted.items() if "attention" not in str(op))
    attention = sum(
        4 * math.prod(q[:-2]) * q[-2] * k[-2] * q[-1] * times
        for (q, k, _), times in watch.seen.items()
    )
    return {"products": int(products), "attention": attention}


def truth(model: nn.Module, seen: Probe) -> Tensor:
    """Run the probed block in float32, on the same numbers."""
    block = copy.deepcopy(model.get_submodule(seen.block)).float()
    return result(block, widened(seen.args), widened(seen.kwargs))


def block_output(model: nn.Module, seen: Probe) -> Tensor:
    """Run the probed block as `model` has it."""
    return result(model.get_submodule(seen.block), seen.args, seen.kwargs)


def result(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Call a block; its results as one vector."""
    found = block(*args, **kwargs)
    tensors = found if isinstance(found, tuple | list) else (found,)
    return torch.cat([one.flatten() for one in tensors])


def widened(value: Any) -> Any:
    """Give the same values in float32."""
    if isinstance(value, dict):
        return {name: widened(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(widened, value))
    return value.float() if isinstance(value, Tensor) and value.dtype in HALVES else value
