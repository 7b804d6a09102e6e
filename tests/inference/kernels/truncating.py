"""bf16 as Triton's interpreter has it: fp32 arithmetic whose results lose their lower half."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


def truncated(x: Tensor) -> Tensor:
    """fp32 → bf16 towards zero."""
    return (x.float().contiguous().view(torch.int32) & -65536).view(torch.float32).bfloat16()


def wide(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
        return value.float()
    return torch.float32 if value is torch.bfloat16 else value


class Truncating(TorchDispatchMode):
    """Run every operator whose result is bf16 in fp32, and truncate what comes out."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten.copy_.default and args[0].dtype == torch.bfloat16:
            return func(args[0], truncated(args[1]))
        plain = func(*args, **kwargs)
        moves = {torch.ops.aten.cat.default, torch.ops.aten.stack.default}
        if func.is_view or func in moves or "empty" in func.name():
            return plain
        exact = func(*tree_map(wide, args), **tree_map(wide, kwargs))

        def settle(result: Any, value: Any) -> Any:
            if isinstance(result, Tensor) and result.dtype == torch.bfloat16:
                return torch.empty_like(result).copy_(truncated(value))
            return result

        if isinstance(plain, tuple | list):
            return type(plain)(settle(*pair) for pair in zip(plain, exact, strict=True))
        return settle(plain, exact)
