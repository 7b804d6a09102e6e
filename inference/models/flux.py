"""FLUX.1 dev and schnell: text to picture by rectified flow over 2x2 patches of VAE latents.

Guidance is a number that the dev network was distilled to read, so a step is one forward; schnell
reads none. Words are T5's; CLIP's pooled embedding drives the modulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inference.models import schema
from inference.models.contract import Forward, Loop, Step
from inference.models.family import (
    TABLES,
    Configs,
    Family,
    Hoisted,
    Inputs,
    Picture,
    Work,
    flow_shift,
    pooled_words,
    tokenized,
)
from inference.models.folder import Part, Parts

FAST_STEPS = 4  # what schnell was distilled to
PATCH = 2  # latent positions per side of a token


def pack(latent: Tensor) -> Tensor:
    """Fold patches into tokens.  (B, C, 2h, 2w) → (B, h·w, 4C)."""
    return torch.nn.functional.pixel_unshuffle(latent, PATCH).flatten(2).mT.contiguous()


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Undo `pack`.  (B, h·w, 4C) → (B, C, 2h, 2w)."""
    folded = tokens.transpose(1, 2).unflatten(2, (rows, columns))  # (B, 4C, h, w)
    return torch.nn.functional.pixel_shuffle(folded, PATCH)


@lru_cache(TABLES)
def positions(rows: int, columns: int, device: str) -> Tensor:
    """Give each token its (0, row, column).  (h·w, 3) float32."""
    ids = torch.zeros(rows, columns, 3)
    ids[..., 1], ids[..., 2] = torch.arange(rows)[:, None], torch.arange(columns)[None]
    return ids.reshape(-1, 3).to(device)


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale: pixels per token's side.  guided: dev, not schnell."""

    channels: int
    scale: int
    guided: bool

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae, network = configs["vae"], configs["transformer"]
        scale = PATCH * 2 ** (len(vae["block_out_channels"]) - 1)
        return cls(vae["latent_channels"], scale, bool(network["guidance_embeds"]))

    @property
    def words(self) -> int:
        """Tokens of a prompt that are read."""
        return 512 if self.guided else 256

    def grid(self, inputs: Inputs) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return inputs["height"] // self.scale, inputs["width"] // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the latent positions of one picture."""
        rows, columns = self.grid(inputs)
        return rows * columns

    def forwards(self, inputs: Inputs) -> int:
        """Guidance costs nothing here."""
        return 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        return schema.inputs(
            ["prompt"],
            prompt=schema.prompt(self.words),
            width=schema.side("Width", self.scale),
            height=schema.side("Height", self.scale),
            steps=schema.steps(28) if self.guided else schema.steps(FAST_STEPS, 16),
            guidance=schema.guidance(3.5) if self.guided else None,
            seed=schema.seed(),
            count=schema.count(),
        )


class Flux(Family[Sizes]):
    """FLUX.1 from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.FluxTransformer2DModel"),
        "vae": Part("diffusers.AutoencoderKL"),
        "text_encoder": Part("transformers.CLIPTextModel"),
        "tokenizer": Part("transformers.CLIPTokenizer"),
        "text_encoder_2": Part("transformers.T5EncoderModel"),
        "tokenizer_2": Part("transformers.T5Tokenizer"),
        "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "flux"
    TITLE: ClassVar[str] = "FLUX.1"
    SUMMARY: ClassVar[str] = "A 12-billion-parameter text-to-image model by Black Forest Labs."
    SPREADS: ClassVar[bool] = True

    def settle(self) -> None:
        """Keep rotation tables per size."""
        self.network, self.vae = self.parts["transformer"], self.parts["vae"]
        self.network.pos_embed = Hoisted(self.network.pos_embed)

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Work:
        """Read the prompt, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        grid, tokens = self.sizes.grid(inputs), self.sizes.tokens(inputs)
        # Evenly from 1 down, then shifted towards noise the more tokens there are.
        sigmas = np.linspace(1.0, 1 / inputs["steps"], inputs["steps"])
        shift = flow_shift(tokens, self.scheduler.config)
        pictures = [
            Picture(self.start(seed, grid), self.schedule(0, sigmas=sigmas, mu=shift))
            for seed in self.seeds(inputs)
        ]
        branch = self.words(inputs["prompt"])
        if self.sizes.guided:
            branch["guidance"] = torch.full([1], float(inputs["guidance"]), device=self.device)
        times = pictures[0].scheduler.timesteps
        return Work(inputs, pictures, times, [branch], {"grid": grid}, tokens)

    def words(self, prompt: str) -> dict[str, Tensor]:
        """Embed a prompt.  → T5's states (1, words, D), CLIP's pooled (1, E)."""
        ids = tokenized(self.parts["tokenizer_2"], prompt, self.sizes.words)["input_ids"]
        states = self.parts["text_encoder_2"](ids.to(self.device))[0]
        pooled = pooled_words(self.parts["text_encoder"], self.parts["tokenizer"], prompt)
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def start(self, seed: int, grid: tuple[int, int]) -> Tensor:
        """Draw one picture's noise as tokens.  → (1, h·w, 4C)."""
        rows, columns = grid
        noise = self.noise(seed, self.sizes.channels, PATCH * rows, PATCH * columns)
        return pack(noise).to(self.dtype)

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for one forward per picture."""
        for index, t in enumerate(work.times):
            answers = yield [self.forward(work, picture, t) for picture in work.pictures]
            for picture, velocity in zip(work.pictures, answers or (), strict=True):
                if work.shown(index):
                    picture.foresee(velocity, index)
                picture.advance(velocity, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forward(self, work: Work, picture: Picture, t: Tensor) -> Forward:
        """Ask for one picture's velocity at time t, which is of 1000."""
        timestep = t.expand(1).to(picture.latent.dtype) / 1000
        return self.ask(work, hidden_states=picture.latent, timestep=timestep)[0]

    def predict(self, *, grid: tuple[int, int] = (0, 0), **rows: Any) -> Tensor:
        """Run the network.  → (B, h·w, 4C)."""
        words = torch.zeros(rows["encoder_hidden_states"].shape[1], 3, device=self.device)
        with self.network.pos_embed.at(grid):
            velocity: Tensor = self.network(
                img_ids=positions(*grid, self.device), txt_ids=words, return_dict=False, **rows
            )[0]
        return velocity

    def preview(self, work: Work, index: int) -> Image.Image | None:
        """Show the first picture's estimate where this step has a preview."""
        first = work.pictures[0]
        if not work.shown(index) or first.clean is None:
            return None
        return self.show(unpack(first.clean, *work.alike["grid"])[0])

    @torch.inference_mode()
    def decode(self, work: Work) -> list[Image.Image]:
        """Turn final latents into pictures, one after the other."""
        return [
            self.picture(self.image(picture.latent, work.alike["grid"]))
            for picture in work.pictures
        ]

    def image(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Decode one picture's tokens.  (1, h·w, 4C) → (3, H, W) in -1..1."""
        config = self.vae.config
        latent = unpack(tokens, *grid) / config.scaling_factor + config.shift_factor
        decoded: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return decoded[0]
