"""LTX-Video: text, or a first frame and text, to a clip, over a strongly compressed latent.

Guided by two branches. A first frame stays in place at time zero while the others are drawn. Newer
VAEs finish the last bit of denoising themselves and are told how much noise that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inference.models import clips, schema
from inference.models.contract import Clip, Forward, Loop, Step
from inference.models.family import (
    Configs,
    Family,
    Hoisted,
    Inputs,
    Picture,
    Work,
    flow_shift,
    generator_of,
    guided,
    tokenized,
)
from inference.models.folder import Part, Parts

WORDS = 128
FPS = 24
SIZES = ["704x480", "480x704", "768x512", "512x768", "1216x704", "704x1216"]
LAST_TIME, LAST_NOISE = 0.05, 0.025  # what is left for a VAE that denoises


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale, stride: pixels and frames per latent position.

    finishing: the VAE does the last bit of denoising.
    """

    channels: int
    scale: int
    stride: int
    finishing: bool

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae = configs["vae"]
        halved = 2 ** sum(vae["spatio_temporal_scaling"])
        return cls(
            channels=vae["latent_channels"],
            scale=vae.get("spatial_compression_ratio") or vae["patch_size"] * halved,
            stride=vae.get("temporal_compression_ratio") or vae["patch_size_t"] * halved,
            finishing=bool(vae.get("timestep_conditioning")),
        )

    def grid(self, inputs: Inputs) -> tuple[int, int, int]:
        """Frames, rows and columns of latent positions."""
        height, width = clips.sides(inputs)
        frames = (clips.frames(inputs, FPS) - 1) // self.stride + 1
        return frames, height // self.scale, width // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the latent positions of one clip."""
        frames, rows, columns = self.grid(inputs)
        return frames * rows * columns

    def forwards(self, inputs: Inputs) -> int:
        """Count the branches of guidance."""
        return 2 if inputs["guidance"] > 1 else 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        return schema.inputs(
            ["prompt"],
            prompt=schema.prompt(WORDS),
            negative_prompt=schema.negative_prompt(),
            image=schema.image(),
            size=schema.size(SIZES),
            seconds=schema.seconds(6, FPS),
            steps=schema.steps(50),
            guidance=schema.guidance(3.0),
            seed=schema.seed(),
            count=schema.count(2),
        )


@dataclass(eq=False)
class Shot(Work):
    """A run of clips.

    held: latent frames at the start that stay in place. last: what each clip's VAE is to mix in.
    """

    held: int = 0
    last: list[Tensor] = field(default_factory=list)


class LTX(Family[Sizes]):
    """LTX-Video from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.LTXVideoTransformer3DModel"),
        "vae": Part("diffusers.AutoencoderKLLTXVideo"),
        "text_encoder": Part("transformers.T5EncoderModel"),
        "tokenizer": Part("transformers.T5Tokenizer"),
        "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "ltx"
    TITLE: ClassVar[str] = "LTX-Video"
    TASK: ClassVar[str] = "text-to-video"
    SUMMARY: ClassVar[str] = "A fast text-to-video and image-to-video model by Lightricks."
    OUTPUT: ClassVar[dict[str, str]] = clips.OUTPUT
    TIMEOUT: ClassVar[int] = 900

    def settle(self) -> None:
        """Keep rotation tables per size."""
        self.network, self.vae = self.parts["transformer"], self.parts["vae"]
        self.network.rope = Hoisted(self.network.rope)

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Shot:
        """Read both prompts and the first frame, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        texts = [inputs["negative_prompt"], inputs["prompt"]][-self.sizes.forwards(inputs) :]
        grid, tokens = self.sizes.grid(inputs), self.sizes.tokens(inputs)
        work = Shot(inputs, [], torch.empty(0), [self.words(text) for text in texts], tokens=tokens)
        work.alike = dict(zip(("num_frames", "height", "width"), grid, strict=True))
        work.alike["rope_interpolation_scale"] = (
            self.sizes.stride / FPS, self.sizes.scale, self.sizes.scale
        )  # fmt: skip
        first = self.first(inputs)
        work.held = int(first is not None)
        for seed in self.seeds(inputs):
            self.begin(work, generator_of(seed), first)
        work.times = work.pictures[0].scheduler.timesteps
        return work

    def words(self, prompt: str) -> dict[str, Tensor]:
        """Embed a prompt.  → states (1, 128, D) and which of them are words."""
        found = tokenized(self.parts["tokenizer"], prompt, WORDS)
        states = self.parts["text_encoder"](found["input_ids"].to(self.device))[0]
        mask = found["attention_mask"].bool().to(self.device)
        return {"encoder_hidden_states": states, "encoder_attention_mask": mask}

    def first(self, inputs: Inputs) -> Any:
        """Encode the first frame, where there is one, to a distribution over latents."""
        if not inputs.get("image"):
            return None
        image = clips.fitted(clips.fetched(inputs["image"]), *clips.sides(inputs))
        frame = clips.pixels(image)[:, :, None].to(self.device, self.dtype)
        return self.vae.encode(frame).latent_dist

    def begin(self, shot: Shot, generator: torch.Generator, first: Any) -> None:
        """Draw one clip's first frame, its noise, and what its VAE mixes in, in this order."""
        shape = (self.sizes.channels, *self.sizes.grid(shot.inputs))
        placed = None
        if first is not None:
            placed = first.sample(generator).float()
            mean, deviation = self.statistics(placed)
            placed = (placed - mean) * 1.0 / deviation
        latent = self.noise(generator, *shape)
        if placed is not None:
            latent[:, :, :1] = placed
        if self.sizes.finishing:
            shot.last.append(self.noise(generator, *shape).to(self.dtype))
        steps = shot.inputs["steps"]
        sigmas = np.linspace(1.0, 1 / steps, steps)
        shift = flow_shift(shot.tokens, self.scheduler.config)
        shot.pictures.append(Picture(latent, self.schedule(0, sigmas=sigmas, mu=shift)))

    def statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the latents.  (1, C, 1, 1, 1) each."""
        mean, deviation = (
            known.view(1, -1, 1, 1, 1).to(like.device, like.dtype)
            for known in (self.vae.latents_mean, self.vae.latents_std)
        )
        return mean, deviation

    def denoise(self, work: Shot) -> Loop:
        """Walk from noise to clips; a step asks for both branches of every clip."""
        for index, t in enumerate(work.times):
            asked = [self.forwards(work, clip, t) for clip in work.pictures]
            answers = yield [forward for both in asked for forward in both]
            velocities = guided(
                [answer.float() for answer in answers or ()],
                len(work.branches),
                work.inputs["guidance"],
            )
            for clip, velocity in zip(work.pictures, velocities, strict=True):
                self.advance(work, clip, velocity, index)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forwards(self, shot: Shot, clip: Picture, t: Tensor) -> list[Forward]:
        """Ask for one clip's velocity at time t; a frame in place is at time zero."""
        time = t.expand(1)
        if shot.held:
            free = torch.ones(clip.latent.shape[2:], device=self.device)
            free[: shot.held] = 0
            time = t * free.flatten()[None]  # (1, tokens)
        tokens = clip.latent.flatten(2).mT.contiguous()  # (1, T·h·w, C)
        return self.ask(shot, hidden_states=tokens.to(self.dtype), timestep=time)

    def predict(self, **given: Any) -> Tensor:
        """Run the network.  → (B, T·h·w, C)."""
        velocity: Tensor = self.network(return_dict=False, **given)[0]
        return velocity

    @torch.inference_mode()
    def advance(self, shot: Shot, clip: Picture, velocity: Tensor, index: int) -> None:
        """Take one step with all frames but those in place.  velocity (1, T·h·w, C)."""
        folded = velocity.mT.unflatten(2, clip.latent.shape[2:])  # (1, C, T, h, w)
        moving = Picture(clip.latent[:, :, shot.held :], clip.scheduler)
        if shot.shown(index):
            moving.foresee(folded[:, :, shot.held :], index)
            clip.clean = moving.clean
        moving.advance(folded[:, :, shot.held :], shot.times[index])
        clip.latent = torch.cat([clip.latent[:, :, : shot.held], moving.latent], 2)

    def preview(self, work: Shot, index: int) -> Image.Image | None:
        """Show the middle frame of the first clip's estimate where this step has a preview."""
        clean = work.pictures[0].clean
        return self.show(clean[0]) if work.shown(index) and clean is not None else None

    @torch.inference_mode()
    def decode(self, work: Shot) -> list[Clip]:
        """Turn final latents into clips, one after the other."""
        return [
            self.clip(self.video(clip.latent, work.last[place : place + 1]), FPS)
            for place, clip in enumerate(work.pictures)
        ]

    def video(self, latent: Tensor, last: list[Tensor]) -> Tensor:
        """Decode one clip.  (1, C, T, h, w) → (3, F, H, W) in -1..1."""
        mean, deviation = self.statistics(latent)
        latent = (latent * deviation / self.vae.config.scaling_factor + mean).to(self.dtype)
        time = None
        if last:
            time = torch.tensor([LAST_TIME], device=self.device, dtype=self.dtype)
            share = torch.tensor(LAST_NOISE, device=self.device, dtype=self.dtype)
            latent = (1 - share) * latent + share * last[0]
        decoded: Tensor = self.vae.decode(latent, time, return_dict=False)[0]
        return decoded[0]
