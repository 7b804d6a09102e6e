"""`kinora/glyph`: text to a 64-pixel picture by rectified flow, in the FLUX block layout.

A FluxTransformer2DModel over pixel patches (there is no VAE) and a small CLIPTextModel. The
transformer predicts the clean picture x0; the velocity that the scheduler integrates follows from
it. Training imports the same functions, so that what is trained is what is served.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerFast

from inference.models import clips
from inference.models.contract import Forward, Loop, Step

SIDE, WIDE = 64, 96  # pixels per side: of most drawings, and of those that are asked for at 96
TOKENS = 16  # words of a prompt that are read, with begin and end
PREVIEW_EVERY = 4  # steps
Module = Any  # diffusers and transformers ship no usable types
LEAST_T = 0.05  # the x0 → velocity division is clamped here, in training and in sampling


def patches(images: Tensor, patch: int) -> Tensor:
    """Unshuffle pixels into tokens.  (B, 3, S, S) → (B, (S/patch)², 3·patch²)."""
    folded = torch.nn.functional.pixel_unshuffle(images, patch)  # (B, C, S/patch, S/patch)
    return folded.flatten(2).transpose(1, 2)  # (B, (S/patch)², C)


def pixels(tokens: Tensor) -> Tensor:
    """Undo `patches`.  (B, N, C) → (B, 3, S, S)."""
    edge = round(tokens.shape[1] ** 0.5)
    folded = tokens.transpose(1, 2).unflatten(2, (edge, edge))  # (B, C, √N, √N)
    return torch.nn.functional.pixel_shuffle(folded, patch_of(tokens.shape[2]))


def patch_of(channels: int) -> int:
    """Pixels per side of a patch whose RGB values are so many channels."""
    return round((channels / 3) ** 0.5)


def spread(side: int) -> float:
    """Deviation of the noise: the mean over a part of the picture is as well hidden at any side."""
    return side / 32


def positions(edge: int, taught: int) -> Tensor:
    """Give each patch its (0, row, column) on the taught grid, whatever the side.  (edge², 3)."""
    steps = (torch.arange(edge) + 0.5) * (taught / edge) - 0.5
    row, column = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).reshape(-1, 3).float()


def plain(prompt: str) -> str:
    """Keep lower-case words and digits, which is all that the tokenizer knows."""
    return " ".join(re.findall(r"[a-z0-9]+", prompt.lower()))


def tokens_of(tokenizer: Module, prompts: list[str]) -> tuple[Tensor, Tensor]:
    """Tokenize prompts.  → ids (B, 16), mask (B, 16)."""
    batch = tokenizer(
        [plain(prompt) for prompt in prompts],
        padding="max_length",
        truncation=True,
        max_length=TOKENS,
        return_tensors="pt",
    )
    return batch["input_ids"], batch["attention_mask"]


def encode(encoder: Module, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Embed words.  (B, 16) → states (B, 16, D), pooled (B, D).

    Pooled is the mean over words, not the end token: it drives the modulation path, and a bag of
    words is what that path learns from soonest.
    """
    states = encoder(input_ids=ids).last_hidden_state  # (B, 16, D)
    weight = mask.unsqueeze(-1).to(states.dtype)  # (B, 16, 1)
    return states, (states * weight).sum(1) / weight.sum(1)


def predict(network: Module, noisy: Tensor, t: Tensor, states: Tensor, pooled: Tensor) -> Tensor:
    """Estimate the clean picture.  noisy (B, N, C), t (B,) in 0..1 → (B, N, C)."""
    edge, taught = round(noisy.shape[1] ** 0.5), SIDE // patch_of(noisy.shape[2])
    estimate: Tensor = network(
        hidden_states=noisy,
        encoder_hidden_states=states,
        pooled_projections=pooled,
        timestep=t,
        img_ids=positions(edge, taught).to(noisy.device),
        txt_ids=torch.zeros(states.shape[1], 3, device=noisy.device),
        return_dict=False,
    )[0]
    return estimate


@dataclass
class Work:
    """One run in flight: a list entry per picture, each sampled on its own.

    Pictures are not batched together: a matrix product may round otherwise in another batch, and
    the same seed must give the same bytes whatever the count.
    """

    inputs: dict[str, Any]
    seeds: list[int]
    states: Tensor  # (2, 16, D): without, with the prompt
    pooled: Tensor  # (2, D)
    latents: list[Tensor]  # count x (1, N, C), the noise until the loop begins
    begun: Tensor | None = None  # (1, N, C), the picture to begin with
    estimates: list[Tensor] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """Steps that are passed over, because the picture begins less hidden."""
        if self.begun is None:
            return 0
        steps = int(self.inputs["steps"])
        return min(steps - round(steps * float(self.inputs["strength"])), steps - 1)


class Glyph:
    """Weights in memory and the four verbs that the engine calls."""

    def __init__(
        self,
        network: Module,
        encoder: Module,
        tokenizer: Module,
        scheduler: Module,
    ) -> None:
        """Take the parts as they are; `load` reads them from a folder."""
        self.network, self.encoder = network.eval(), encoder.eval()
        self.tokenizer, self.scheduler = tokenizer, scheduler
        self.patch = patch_of(network.config.in_channels)
        weights = [*network.parameters(), *encoder.parameters()]
        self.device = weights[0].device
        self.bytes = sum(weight.numel() * weight.element_size() for weight in weights)

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        """Read a diffusers folder; weights are kept in float32, which a CPU computes fastest."""
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"),
            **json.loads((folder / "tokenizer" / "special_tokens_map.json").read_text()),
        )
        network: Module = FluxTransformer2DModel.from_pretrained(
            folder / "transformer", torch_dtype=torch.float32, low_cpu_mem_usage=False
        )
        encoder: Module = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=torch.float32
        )
        scheduler: Module = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
        return cls(network.to(device), encoder.to(device), tokenizer, scheduler)

    def prepare(self, inputs: dict[str, Any]) -> Work:
        """Read the prompt and draw the noise of each picture from its own seed."""
        prompts = [inputs.get("negative_prompt", ""), inputs["prompt"]]
        ids, mask = tokens_of(self.tokenizer, prompts)
        with torch.inference_mode():
            states, pooled = encode(self.encoder, ids.to(self.device), mask.to(self.device))
        side = WIDE if int(inputs["size"]) == WIDE else SIDE
        seeds = [inputs["seed"] + index for index in range(inputs["count"])]
        noises = [self.noise(seed, side) for seed in seeds]
        begun = self.tokens(inputs["image"], side) if inputs.get("image") else None
        return Work(inputs, seeds, states, pooled, noises, begun)

    def noise(self, seed: int, side: int = SIDE) -> Tensor:
        """Draw starting noise on the CPU, so that every device starts alike.  (1, N, C)."""
        generator = torch.Generator("cpu").manual_seed(seed % 2**31)
        drawn = torch.randn(1, 3, side, side, generator=generator) * spread(side)
        return patches(drawn, self.patch).to(self.device)

    def tokens(self, address: str, side: int) -> Tensor:
        """Fetch the picture to begin with.  → (1, N, C) in -1..1.  Raises ValueError, OSError."""
        image = clips.fitted(clips.fetched(address), side, side)
        return patches(clips.pixels(image), self.patch).to(self.device)

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for one forward per picture."""
        steps, skipped = work.inputs["steps"], work.skipped
        self.scheduler.set_timesteps(steps, device=self.device)
        times = self.scheduler.sigmas.tolist()[skipped:]  # from 1, or from less, to 0
        if work.begun is not None:
            hidden = [times[0] * noise for noise in work.latents]
            work.latents = [(1 - times[0]) * work.begun + noise for noise in hidden]
        steps -= skipped
        for index, (now, after) in enumerate(pairwise(times)):
            answers = yield [self.forward(work, latent, now) for latent in work.latents]
            work.estimates = [self.guided(work, both) for both in answers or ()]
            work.latents = [
                latent + (after - now) * (latent - estimate) / max(now, LEAST_T)
                for latent, estimate in zip(work.latents, work.estimates, strict=True)
            ]
            shown = index % PREVIEW_EVERY == PREVIEW_EVERY - 1 and index + 1 < steps
            yield Step(index + 1, steps, self.images(work.estimates[:1])[0] if shown else None)

    def forward(self, work: Work, latent: Tensor, t: float) -> Forward:
        """Ask for the clean picture without and with the prompt.  latent (1, N, C)."""
        rows = {
            "noisy": latent.expand(2, -1, -1),
            "t": torch.full((2,), t, device=self.device),
            "states": work.states,
            "pooled": work.pooled,
        }
        return Forward(self.predict, rows, {}, tokens=latent.shape[1])

    def predict(self, **rows: Tensor) -> Tensor:
        """Run the network.  → (B, N, C)."""
        return predict(self.network, **rows)

    def guided(self, work: Work, both: Tensor) -> Tensor:
        """Push the estimate away from the one without the prompt.  (2, N, C) → (1, N, C)."""
        without, given = both.chunk(2)
        estimate: Tensor = without + work.inputs["guidance"] * (given - without)
        return estimate

    def decode(self, work: Work) -> list[Image.Image]:
        """Turn final latents into pictures of the asked size."""
        side = int(work.inputs["size"])
        return [
            image if image.width == side else image.resize((side, side), Image.Resampling.LANCZOS)
            for image in self.images(work.latents)
        ]

    def images(self, latents: list[Tensor]) -> list[Image.Image]:
        """Show latents at the network's own size.  count x (1, N, C) → count pictures."""
        drawn = pixels(torch.cat(latents)).clamp(-1, 1)  # (count, 3, S, S)
        levels = ((drawn + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(level) for level in levels]
