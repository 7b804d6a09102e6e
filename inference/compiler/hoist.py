"""Tables of rotary positions made once for a size, not at every step.

Only where the table follows from shapes and plain numbers: what follows from a tensor's values
(FLUX's positions) is computed at every step, since a captured forward could not tell it apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

HOISTED = {"WanRotaryPosEmbed", "LTXVideoRotaryPosEmbed", "HunyuanVideoRotaryPosEmbed"}
MOST = 8  # sizes


class Table:
    """A module's forward that remembers what it gave for a size."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        """Take the forward."""
        self.forward = forward
        self.made: OrderedDict[Any, Any] = OrderedDict()

    def __call__(self, latents: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Give the table for latents of this shape; with other tensors, make it anew."""
        rest = (*args, *kwargs.values())
        if any(isinstance(one, Tensor) for one in rest):
            return self.forward(latents, *args, **kwargs)
        key = (latents.shape, latents.dtype, latents.device, repr(args), repr(kwargs))
        if key not in self.made:
            self.made[key] = self.forward(latents, *args, **kwargs)
            while len(self.made) > MOST:
                self.made.popitem(last=False)
        self.made.move_to_end(key)
        return self.made[key]


def hoist(model: nn.Module) -> int:
    """Have a model's tables made once per size, in place.  → how many modules make tables."""
    tables = [one for one in model.modules() if type(one).__name__ in HOISTED]
    for one in tables:
        if not isinstance(one.forward, Table):
            one.forward = Table(one.forward)
    return len(tables)
