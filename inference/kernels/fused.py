"""Ties a Triton kernel to its template: when it runs, and what is counted when it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inference.kernels.contract import Template
from inference.kernels.language import tl


@dataclass(frozen=True)
class Fused:
    """The CUDA side of a template: the same arguments, the same results.

    `accepts` says whether the kernel can take the arguments; where it cannot, the reference runs
    and `refused` counts it, so that no measurement takes one for the other.
    """

    template: Template
    accepts: Callable[..., bool]
    run: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Run the kernel, or the reference where the kernel cannot."""
        if tl is not None and self.accepts(*arguments):
            return self.run(*arguments)
        refused[self.template.name] += 1
        return self.template.reference(*arguments)


FUSED: dict[str, Fused] = {}
refused: Counter[str] = Counter()


def fused(
    template: Template, accepts: Callable[..., bool]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as what the template's op does on a GPU."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        FUSED[template.name] = Fused(template, accepts, run)
        template.op.register_kernel("cuda")(FUSED[template.name].__call__)
        return run

    return register
