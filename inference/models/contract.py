"""What the engine asks of a model family, and what it gets back from it.

A family walks its own loop and asks for every forward that the loop needs; whoever walks it decides
whether forwards run alone or together with those of other runs, and stops it by asking no more.
Loops of several runs are walked in turns, so what belongs to one run lives in its work, never in
the model, and its random numbers come from generators of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from PIL import Image
from torch import Tensor

ALIGNMENT = 64  # bytes; what a new tensor has on every device


class Unusable(ValueError):
    """An input that a run cannot be made of, whoever tries; names the field and what is allowed."""

    def __init__(self, field: str, why: str) -> None:
        """field: below `inputs`, as in `loras.0.name`."""
        super().__init__(f"inputs.{field} {why}")
        self.field = field


@dataclass(frozen=True)
class Step:
    """One finished denoising step: `index` counts from 1; `preview` is the x0 estimate, or None."""

    index: int
    steps: int
    preview: Image.Image | None


@dataclass(frozen=True, eq=False)
class Forward:
    """One call of a network that a loop is waiting for.

    rows: tensors whose first axis is the batch, which may be joined with those of a forward alike.
    alike: everything else that the call is given; equal values may share one call.
    tokens: latent positions of one row, the unit of compute.
    """

    network: Callable[..., Tensor]
    rows: dict[str, Tensor]
    alike: dict[str, Any]
    tokens: int


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of a video.  frames: (T, H, W, 3) uint8 on the CPU."""

    frames: Tensor
    fps: int


Loop = Generator[Step | list[Forward], list[Tensor] | None, None]
Drawn = Image.Image | Clip


class Model(Protocol):
    """A family: how its weights are loaded and how its loop is walked."""

    bytes: int

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        """Read weights from `folder` onto `device`."""

    def prepare(self, inputs: dict[str, Any]) -> Any:
        """Encode inputs into the family's own state of one run."""

    def denoise(self, work: Any) -> Loop:
        """Yield forwards, to be sent their estimates, and a `Step` at the end of every step."""

    def decode(self, work: Any) -> list[Image.Image] | list[Clip]:
        """Turn the final state into pictures or clips."""


def call(forward: Forward) -> Tensor:
    """Run one forward by itself."""
    with torch.inference_mode():
        rows = {name: laid_out(row) for name, row in forward.rows.items()}
        return laid_out(forward.network(**rows, **forward.alike))


def laid_out(tensor: Tensor) -> Tensor:
    """Give a tensor the one layout, so that neither strides nor addresses choose a kernel."""
    whole = tensor.contiguous()
    return whole if whole.data_ptr() % ALIGNMENT == 0 else whole.clone()


def walk(loop: Loop) -> Iterator[Step]:
    """Walk a loop alone, each forward by itself.  → its steps, as they end."""
    asked = next(loop, None)
    while asked is not None:
        if isinstance(asked, Step):
            yield asked
            asked = next(loop, None)
        else:
            asked = answered(loop, [call(forward) for forward in asked])


def answered(loop: Loop, estimates: list[Tensor]) -> Step | list[Forward] | None:
    """Send a loop what it waits for.  → what it says next, None at its end."""
    try:
        return loop.send(estimates)
    except StopIteration:
        return None
