"""What families share: loading, noise, one scheduler per picture, previews, cost.

A family's own file holds its sizes, its inputs, its words and its loop. Every picture or clip of a
run has its own noise, its own scheduler and its own forwards, so that what it becomes depends
neither on its neighbours nor on how many there are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from inference.models import folder as folders
from inference.models import preview, schema
from inference.models.contract import Clip, Forward
from inference.models.folder import Module, Parts

Inputs = dict[str, Any]
Configs = dict[str, dict[str, Any]]
PREVIEW_EVERY = 4  # steps
TABLES = 8  # sizes whose tables a network keeps


class Sizes(Protocol):
    """What follows from a folder's configurations: a frozen dataclass in each family's file."""

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""

    def tokens(self, inputs: Inputs) -> int:
        """Count the latent positions that the network sees of one picture or clip."""

    def forwards(self, inputs: Inputs) -> int:
        """Count the calls of the network that one step of one picture or clip takes."""


S = TypeVar("S", bound=Sizes)


@dataclass(eq=False)
class Picture:
    """One picture or clip on its way from noise.

    latent: as the network takes it, with a batch of one. clean: the last estimate of its end.
    generator: of the noise, for schedulers that draw more of it on the way.
    """

    latent: Tensor
    scheduler: Module
    clean: Tensor | None = None
    generator: torch.Generator | None = None

    @torch.inference_mode()
    def advance(self, velocity: Tensor, t: Tensor) -> None:
        """Follow the network's velocity from time t to the next."""
        self.latent = self.scheduler.step(velocity, t, self.latent, return_dict=False)[0]

    @torch.inference_mode()
    def foresee(self, velocity: Tensor, index: int) -> None:
        """Estimate where a flow ends: x0 = x - σ·v.  To be called before `advance`."""
        self.clean = self.latent - self.scheduler.sigmas[index].to(self.latent) * velocity


@dataclass(eq=False)
class Work:
    """One run in flight.

    times: (steps,) as the scheduler gives them. branches: what the network is told beside the
    latent, per branch of guidance: the negative one first where there are two. alike: the rest.
    """

    inputs: Inputs
    pictures: list[Picture]
    times: Tensor
    branches: list[dict[str, Tensor]]
    alike: dict[str, Any] = field(default_factory=dict)
    tokens: int = 0

    def shown(self, index: int) -> bool:
        """Tell whether step `index` (from 0) has a preview: every few, and not the last."""
        last = index + 1 == len(self.times)
        return index % PREVIEW_EVERY == PREVIEW_EVERY - 1 and not last


class Hoisted(nn.Module):
    """A part whose output follows from sizes alone: worked out once per size, the same bits.

    Rotation tables are such parts; diffusers' networks make them anew in every forward.
    """

    def __init__(self, part: nn.Module) -> None:
        """Take the part's place; it has no weights."""
        super().__init__()
        self.part = part
        self.tables: dict[Any, Any] = {}
        self.size: Any = None

    def forward(self, *given: Any, **named: Any) -> Any:
        """Give the table of this size, made by the part where it is the first time."""
        told = [outline(value) for value in (*given, *named.values())]
        key = (self.size, *told)
        if key not in self.tables:
            if len(self.tables) >= TABLES:
                del self.tables[next(iter(self.tables))]
            self.tables[key] = self.part(*given, **named)
        return self.tables[key]

    @contextmanager
    def at(self, size: Any) -> Iterator[None]:
        """Say what the tables follow from, for the calls inside, beside their arguments' shapes."""
        self.size = size
        try:
            yield
        finally:
            self.size = None


def outline(value: Any) -> Any:
    """Say of an argument what may be compared: of a tensor its shape, type and place."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, str(value.device)
    return repr(value)


class Family(Generic[S]):
    """Weights in memory, and what every family does alike."""

    PARTS: ClassVar[Parts]
    SIZES: ClassVar[type[Any]]
    SPACE: ClassVar[str] = ""  # of preview.json
    TITLE: ClassVar[str]
    TASK: ClassVar[str] = "text-to-image"
    SUMMARY: ClassVar[str]
    OUTPUT: ClassVar[dict[str, str]] = {"kind": "image", "content_type": "image/png"}
    TIMEOUT: ClassVar[int] = 300  # seconds
    SPREADS: ClassVar[bool] = False  # whether sequences split evenly over devices, words included

    def __init__(self, parts: dict[str, Module], sizes: S, device: str, dtype: torch.dtype) -> None:
        """Take parts that are loaded; `load` reads them from a folder."""
        self.parts, self.sizes, self.device, self.dtype = parts, sizes, device, dtype
        self.scheduler = parts["scheduler"]
        modules = [part for part in parts.values() if isinstance(part, nn.Module)]
        weights = [
            weight for module in modules for weight in (*module.parameters(), *module.buffers())
        ]
        self.bytes = sum(weight.numel() * weight.element_size() for weight in weights)
        self.settle()

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        """Read a diffusers folder: bfloat16 on a GPU, float32 on a CPU, which it computes fastest.

        Raises Unsuitable.
        """
        dtype = cls.dtype_on(device)
        parts = folders.read(folder, cls.PARTS, device, dtype)
        return cls(parts, cls.SIZES.of(folders.configs(folder)), device, dtype)

    @staticmethod
    def dtype_on(device: str) -> torch.dtype:
        """Name the type that weights have on a device."""
        return torch.float32 if device == "cpu" else torch.bfloat16

    def settle(self) -> None:
        """Make of the loaded parts what the family wants; nothing, unless it says so."""

    @classmethod
    def task(cls, sizes: S) -> str:
        """Name what a folder of these sizes does."""
        return cls.TASK

    def cost(self, inputs: Inputs) -> int:
        """Count the latent positions that all forwards of a run compute."""
        each = self.sizes.tokens(inputs) * self.sizes.forwards(inputs)
        return int(each * inputs["steps"] * inputs["count"])

    def filled(self, inputs: Inputs) -> Inputs:
        """Add what an input is where nobody says it."""
        return schema.defaults(self.sizes.inputs()) | {"count": 1} | inputs

    def noise(self, start: int | torch.Generator, *shape: int) -> Tensor:
        """Draw noise on the CPU in float32, so that every device starts alike."""
        generator = generator_of(start) if isinstance(start, int) else start
        return torch.randn(1, *shape, generator=generator).to(self.device)

    def seeds(self, inputs: Inputs) -> list[int]:
        """Give each picture its seed: the run's own, then those that follow."""
        return [(inputs["seed"] + place) % 2**31 for place in range(inputs["count"])]

    def schedule(self, steps: int, **told: Any) -> Module:
        """Make a scheduler of one picture's own, at its first step."""
        scheduler = copy.deepcopy(self.scheduler)
        if "sigmas" not in told:
            told["num_inference_steps"] = steps
        scheduler.set_timesteps(device=self.device, **told)
        scheduler.set_begin_index(0)  # else the first step waits for the device to look it up
        return scheduler

    def ask(self, work: Work, **rows: Tensor) -> list[Forward]:
        """Ask for one picture's estimate, once per branch of guidance."""
        return [
            Forward(self.predict, rows | branch, work.alike, work.tokens)
            for branch in work.branches
        ]

    def predict(self, **given: Any) -> Tensor:
        """Run the network on the rows and the rest of a forward."""
        raise NotImplementedError

    def picture(self, image: Tensor) -> Image.Image:
        """Turn a decoded picture into 8 bits per colour.  (3, H, W) in -1..1."""
        return Image.fromarray(levels(image.permute(1, 2, 0)).numpy())

    def clip(self, video: Tensor, fps: int) -> Clip:
        """Turn a decoded clip into 8 bits per colour.  (3, T, H, W) in -1..1."""
        return Clip(levels(video.permute(1, 2, 3, 0)).contiguous(), fps)

    def show(self, latent: Tensor) -> Image.Image:
        """Show the estimate of a clean latent.  (C, H, W) or (C, T, H, W)."""
        return preview.show(self.SPACE, latent)


def generator_of(seed: int) -> torch.Generator:
    """Begin a row of random numbers on the CPU."""
    return torch.Generator("cpu").manual_seed(seed)


def guided(answers: Sequence[Tensor], branches: int, scale: float) -> list[Tensor]:
    """Push each picture's estimate away from the negative branch's, which is the first of two."""
    if branches == 1:
        return list(answers)
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [without + scale * (given - without) for without, given in pairs]


def levels(colours: Tensor) -> Tensor:
    """Turn -1..1 into 0..255 on the CPU."""
    return ((colours / 2 + 0.5).clamp(0, 1).float().cpu() * 255).round().to(torch.uint8)


def tokenized(tokenizer: Module, prompt: str, words: int) -> dict[str, Tensor]:
    """Turn a prompt into exactly `words` tokens.  → input_ids and attention_mask, (1, words)."""
    found: dict[str, Tensor] = tokenizer(
        [prompt],
        padding="max_length",
        max_length=words,
        truncation=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    return found


def pooled_words(encoder: Module, tokenizer: Module, prompt: str) -> Tensor:
    """Embed a prompt as a whole with CLIP.  → (1, D)."""
    ids = tokenized(tokenizer, prompt, tokenizer.model_max_length)["input_ids"]
    pooled: Tensor = encoder(ids.to(encoder.device)).pooler_output
    return pooled


def flow_shift(tokens: int, config: dict[str, Any]) -> float:
    """Give the logarithm by which a flow's times shift towards noise for this many tokens."""
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (most - least) / (many - few)
    return float(tokens * slope + (least - slope * few))
