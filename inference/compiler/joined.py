"""Make one module of a norm and of the activation that its block always runs behind it.

A block of Wan's VAE, or of Qwen-Image's, keeps frames in a list by its own place in the model, so
a graph of the whole block would serve no other block. What is between its products would.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

NORMS = {"WanRMS_norm", "QwenImageRMS_norm"}
BEHIND = "nonlinearity"  # what such a block calls its activation, which follows every norm of it


class Activated(nn.Module):
    """A norm with its activation."""

    def __init__(self, norm: nn.Module, activation: nn.Module) -> None:
        """Take both."""
        super().__init__()
        self.norm, self.activation = norm, activation

    def forward(self, x: Tensor) -> Tensor:
        """Norm, then activate."""
        activated: Tensor = self.activation(self.norm(x))
        return activated


def joinable(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Find blocks and the names of their norms."""
    for block in model.modules():
        if isinstance(getattr(block, BEHIND, None), nn.Module):
            for name, one in block.named_children():
                if type(one).__name__ in NORMS:
                    yield block, name


def join(model: nn.Module) -> None:
    """Join norms and activations in place; parameters are then called `norm1.norm.gamma`."""
    for block, name in list(joinable(model)):
        setattr(block, name, Activated(getattr(block, name), getattr(block, BEHIND)))
    for block in [one for one in model.modules() if is_joined(one)]:
        setattr(block, BEHIND, nn.Identity())


def is_joined(block: nn.Module) -> bool:
    """Tell whether a block's norms bring their activation along."""
    return any(isinstance(one, Activated) for one in block.children())
