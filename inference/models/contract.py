"""What the engine asks of a model family, and what it gets back from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from PIL import Image


@dataclass(frozen=True)
class Step:
    """One finished denoising step: `index` counts from 1; `preview` is the x0 estimate, or None."""

    index: int
    steps: int
    preview: Image.Image | None


class Model(Protocol):
    """A family: how its weights are loaded and how its loop is walked."""

    bytes: int

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        """Read weights from `folder` onto `device`."""

    def prepare(self, inputs: dict[str, Any]) -> Any:
        """Encode inputs into the family's own state of one run."""

    def denoise(self, work: Any) -> Iterator[Step]:
        """Yield after every step; whoever stops iterating cancels."""

    def decode(self, work: Any) -> list[Image.Image]:
        """Turn the final state into pictures."""
