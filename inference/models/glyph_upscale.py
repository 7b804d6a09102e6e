"""`kinora/glyph-upscale`: a picture four times as large, by a small convolutional network.

It adds what a bicubic enlargement lacks, and is as deep as it is cheap: all of its layers but the
last work on the small picture. Every picture is one forward of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from inference import header
from inference.models import clips
from inference.models.contract import Forward, Loop, Step
from inference.models.family import levels

TIMES = 4  # larger per side
WIDTH, BLOCKS = 40, 5
MOST = 256  # pixels per side of what is enlarged
WEIGHTS = "model.safetensors"


class Block(nn.Module):
    """Two convolutions beside the way straight through."""

    def __init__(self, width: int) -> None:
        """Make both with random weights."""
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")

    def forward(self, states: Tensor) -> Tensor:
        """(B, C, H, W) → the same."""
        added: Tensor = self.second(functional.silu(self.first(states)))
        return states + added


class Network(nn.Module):
    """What is added to a bicubic enlargement."""

    def __init__(self, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        """Make all layers; the last begins at zero, so that training begins at bicubic."""
        super().__init__()
        self.enter = nn.Conv2d(3, width, 3, padding=1, padding_mode="replicate")
        self.blocks = nn.Sequential(*[Block(width) for _ in range(blocks)])
        self.leave = nn.Conv2d(width, 3 * TIMES**2, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, picture: Tensor) -> Tensor:
        """Enlarge.  (B, 3, H, W) in -1..1 → (B, 3, TIMES · H, TIMES · W)."""
        added = functional.pixel_shuffle(self.leave(self.blocks(self.enter(picture))), TIMES)
        return bicubic(picture) + added


def bicubic(picture: Tensor) -> Tensor:
    """Enlarge without knowing anything.  (B, 3, H, W) → (B, 3, TIMES · H, TIMES · W)."""
    return functional.interpolate(picture, scale_factor=TIMES, mode="bicubic", align_corners=False)


@dataclass
class Work:
    """One run in flight: what is given, and what became of it."""

    picture: Tensor  # (1, 3, H, W) in -1..1
    large: Tensor | None = None


class GlyphUpscale:
    """The network in memory and the four verbs that the engine calls."""

    def __init__(self, network: Network, device: str) -> None:
        """Take it as it is; `load` reads it from a folder."""
        self.network, self.device = network.eval().requires_grad_(False).to(device), device
        self.bytes = sum(one.numel() * one.element_size() for one in network.parameters())

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        """Read safetensors, kept in float32.  Raises Invalid."""
        header.read(folder / WEIGHTS)
        network = Network()
        network.load_state_dict(
            {name: one.float() for name, one in load_file(folder / WEIGHTS).items()}
        )
        return cls(network, device)

    def prepare(self, inputs: dict[str, Any]) -> Work:
        """Fetch the picture; one that is too large is made smaller first.  Raises Unusable."""
        image = clips.fetched(inputs["image"])
        image.thumbnail((MOST, MOST), Image.Resampling.LANCZOS)
        return Work(clips.pixels(image).to(self.device))

    def denoise(self, work: Work) -> Loop:
        """Enlarge in one step."""
        tokens = work.picture.shape[2] * work.picture.shape[3]
        answers = yield [Forward(self.network, {"picture": work.picture}, {}, tokens)]
        (work.large,) = answers or (None,)
        yield Step(1, 1, None)

    def decode(self, work: Work) -> list[Image.Image]:
        """Turn what came out into a picture."""
        if work.large is None:
            raise RuntimeError("the picture is not enlarged yet")
        return [Image.fromarray(levels(work.large[0].permute(1, 2, 0)).numpy())]
