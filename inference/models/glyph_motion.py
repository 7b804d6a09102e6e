"""`kinora/glyph-motion`: a prompt, or a picture and a prompt, to a short clip.

Two stages of one model. Where no picture is given, kinora/glyph draws it; then a small Wan-class
transformer predicts, by rectified flow, how that picture moves: fields, not pixels
(`motion_field.py`). Every frame is the picture itself, looked up where the fields say, so it stays
as sharp as it came, at any size. Training imports the same functions.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from inference import loading
from inference.models import clips, schema
from inference.models.contract import Clip, Forward, Loop, Step, answered
from inference.models.family import generator_of, levels
from inference.models.glyph import Glyph
from inference.models.motion_field import EDGE, FPS, RATE, SCALE, calm, moved, seen, smooth
from inference.wire import WEIGHTS, describe

HANDS = 7  # of the clock: channels that tell the time of a field
WORDS = 8  # words of motion that are read, with begin and end
LEAST_T = 0.02
SHIFT = 6.0  # of the times towards noise: a field is smooth, so little of it is hidden
DRAWN = 64  # pixels per side that the first stage draws
MARGIN = 0.66  # of a side that a drawn picture takes, so that it has room to move
PREVIEW_EVERY = 4  # steps
Module = Any  # diffusers and transformers ship no usable types


def told(tokenizer: Module, prompts: list[str]) -> Tensor:
    """Keep the words of motion, and number them.  → (B, WORDS)."""
    known = tokenizer.get_vocab()
    kept = [" ".join(word for word in words_of(prompt) if word in known) for prompt in prompts]
    batch = tokenizer(
        kept, padding="max_length", truncation=True, max_length=WORDS, return_tensors="pt"
    )
    found: Tensor = batch["input_ids"]
    return found


def subject(tokenizer: Module, prompt: str) -> str:
    """Take the words of motion away; where nothing is left, all words are meant."""
    known = tokenizer.get_vocab()
    return " ".join(word for word in words_of(prompt) if word not in known) or prompt


def words_of(prompt: str) -> list[str]:
    """Part a prompt into lower-case words."""
    return re.findall(r"[a-z0-9]+", prompt.lower())


def clock(fields: int) -> Tensor:
    """Tell each field its own time: rotary positions tell distances only.  → (HANDS, T)."""
    t = torch.arange(fields) / RATE
    turns = [part(cycles * math.pi * t) for cycles in (1, 2, 4) for part in (torch.sin, torch.cos)]
    return torch.stack([t - 1, *turns])


def predict(network: Module, noisy: Tensor, shown: Tensor, t: Tensor, states: Tensor) -> Tensor:
    """Estimate the clean fields.

    noisy (B, 3, T, E, E), shown (B, 4, E, E), t (B,) in 0..1, states (B, WORDS, D) → as noisy.
    """
    first = shown[:, :, None].expand(-1, -1, noisy.shape[2], -1, -1)
    hands = clock(noisy.shape[2]).to(noisy)[None, :, :, None, None]
    hands = hands.expand(noisy.shape[0], -1, -1, EDGE, EDGE)
    estimate: Tensor = network(
        hidden_states=torch.cat([noisy, first, hands], 1),
        timestep=t * 1000,
        encoder_hidden_states=states,
        return_dict=False,
    )[0]
    return estimate


@dataclass
class Take:
    """One clip on its way: its picture, and the fields that move it.

    drawing: the first stage's own state, where it has to draw. picture: (3, S, S) in -1..1.
    """

    fields: Tensor  # (1, 3, T, E, E), noise at first
    drawing: Any = None
    picture: Tensor | None = None
    shown: Tensor | None = None  # (1, 4, E, E)
    estimate: Tensor | None = None


@dataclass
class Work:
    """One run in flight: a take per clip, each sampled on its own, so that none sees the others."""

    inputs: dict[str, Any]
    states: Tensor  # (2, WORDS, D): without, with the prompt
    takes: list[Take] = field(default_factory=list)

    @property
    def draws(self) -> bool:
        """Whether the first stage is walked."""
        return bool(self.takes) and self.takes[0].drawing is not None


class GlyphMotion:
    """Weights of both stages in memory, and the four verbs that the engine calls."""

    def __init__(
        self, network: Module, encoder: Module, tokenizer: Module, scheduler: Module, painter: Glyph
    ) -> None:
        """Take the parts as they are; `load` reads them from folders."""
        self.network, self.encoder = network.eval(), encoder.eval()
        self.tokenizer, self.scheduler, self.painter = tokenizer, scheduler, painter
        weights = [*network.parameters(), *encoder.parameters()]
        self.device = weights[0].device
        self.usual = schema.defaults(describe("glyph")["inputs"])
        self.bytes = painter.bytes + sum(one.numel() * one.element_size() for one in weights)

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        """Read a diffusers folder, and kinora/glyph beside it; all is kept in float32."""
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"),
            **json.loads((folder / "tokenizer" / "special_tokens_map.json").read_text()),
        )
        network = loading.module(
            WanTransformer3DModel, folder / "transformer", device, torch.float32
        )
        encoder: Module = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=torch.float32
        )
        scheduler: Module = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
        painter = Glyph.load(WEIGHTS / "glyph", device)
        return cls(network, encoder.to(device), tokenizer, scheduler, painter)

    def prepare(self, inputs: dict[str, Any]) -> Work:
        """Read the prompt, draw each clip's noise from its own seed, and fetch the picture."""
        ids = told(self.tokenizer, ["", inputs["prompt"]])
        with torch.inference_mode():
            states = self.encoder(input_ids=ids.to(self.device)).last_hidden_state
        work = Work(inputs, states)
        for place in range(inputs["count"]):
            seed = (inputs["seed"] + place) % 2**31
            work.takes.append(self.take(inputs, seed))
        return work

    def take(self, inputs: dict[str, Any], seed: int) -> Take:
        """Begin one clip with its picture, or with what is needed to draw it."""
        shape = (1, 3, inputs["seconds"] * RATE, EDGE, EDGE)
        take = Take(torch.randn(shape, generator=generator_of(seed)).to(self.device))
        side = clips.sides(inputs)
        if inputs.get("image"):
            image = clips.fitted(clips.fetched(inputs["image"]), *side)
            self.begin(take, clips.pixels(image)[0])
        else:
            words = subject(self.tokenizer, inputs["prompt"])
            asked = {"prompt": words, "size": DRAWN, "steps": inputs["steps"], "seed": seed}
            take.drawing = self.painter.prepare(self.usual | asked)
        return take

    def begin(self, take: Take, picture: Tensor) -> None:
        """Give a clip its first frame.  picture: (3, H, W) in -1..1."""
        take.picture = picture.to(self.device)
        take.shown = seen(take.picture)[None]

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures where there are none, then from noise to motion."""
        steps = work.inputs["steps"]
        total = 2 * steps if work.draws else steps
        if work.draws:
            yield from self.draw(work, total)
        self.scheduler.set_timesteps(steps, device=self.device)
        times = self.scheduler.sigmas.tolist()  # steps + 1 values from 1 to 0
        for index in range(steps):
            now, after = times[index], times[index + 1]
            answers = yield [self.forward(work, take, now) for take in work.takes]
            for take, both in zip(work.takes, answers or (), strict=True):
                without, given = both.chunk(2)
                take.estimate = without + work.inputs["guidance"] * (given - without)
                away = (take.fields - take.estimate) / max(now, LEAST_T)
                take.fields = take.fields + (after - now) * away
            shown = index % PREVIEW_EVERY == PREVIEW_EVERY - 1 and index + 1 < steps
            done = total - steps + index + 1
            yield Step(done, total, self.preview(work.takes[0]) if shown else None)

    def draw(self, work: Work, total: int) -> Loop:
        """Walk the first stage: the pictures of all clips, one after the other."""
        for place, take in enumerate(work.takes):
            last = place + 1 == len(work.takes)
            yield from counted(self.painter.denoise(take.drawing), total, speaks=last)
            (image,) = self.painter.decode(take.drawing)
            self.begin(take, clips.pixels(framed(image, *clips.sides(work.inputs)))[0])

    def forward(self, work: Work, take: Take, t: float) -> Forward:
        """Ask for the clean fields without and with the prompt."""
        if take.shown is None:
            raise RuntimeError("a clip has no first frame yet")
        rows = {
            "noisy": take.fields.expand(2, -1, -1, -1, -1),
            "shown": take.shown.expand(2, -1, -1, -1),
            "t": torch.full((2,), t, device=self.device),
            "states": work.states,
        }
        return Forward(self.predict, rows, {}, tokens=take.fields.shape[2])

    def predict(self, **rows: Tensor) -> Tensor:
        """Run the network.  → (B, 3, T, E, E)."""
        return predict(self.network, **rows)

    def decode(self, work: Work) -> list[Clip]:
        """Move each picture along its fields."""
        return [Clip(self.frames(take, take.fields), FPS) for take in work.takes]

    def frames(self, take: Take, fields: Tensor) -> Tensor:
        """Draw all frames.  fields (1, 3, T, E, E) → (BETWEEN · T, H, W, 3) uint8 on the CPU."""
        if take.picture is None:
            raise RuntimeError("a clip has no first frame yet")
        with torch.inference_mode():
            whole = moved(take.picture, smooth(calm(fields[0].transpose(0, 1) / SCALE)))
        return levels(whole.permute(0, 2, 3, 1)).contiguous()

    def preview(self, take: Take) -> Image.Image | None:
        """Show the last frame that the present estimate leads to."""
        if take.picture is None or take.estimate is None:
            return None
        small = functional.interpolate(take.picture[None], size=(DRAWN, DRAWN), mode="area")[0]
        with torch.inference_mode():
            frame = moved(small, take.estimate[0, :, -1:].transpose(0, 1) / SCALE)[0]
        return Image.fromarray(levels(frame.permute(1, 2, 0)).numpy())


def counted(loop: Loop, total: int, *, speaks: bool) -> Loop:
    """Walk another's loop, its steps counted as those of a longer one; or in silence."""
    asked = next(loop, None)
    while asked is not None:
        if isinstance(asked, Step):
            if speaks:
                yield replace(asked, steps=total)
            asked = next(loop, None)
        else:
            asked = answered(loop, (yield asked) or [])


def framed(image: Image.Image, height: int, width: int) -> Image.Image:
    """Put a drawing in the middle of a white canvas, with room around it."""
    side = round(min(height, width) * MARGIN)
    canvas = Image.new("RGB", (width, height), "white")
    drawn = image.resize((side, side), Image.Resampling.LANCZOS)
    canvas.paste(drawn, ((width - side) // 2, (height - side) // 2))
    return canvas
