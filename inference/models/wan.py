"""Wan 2.1 and 2.2: text, or a first frame and text, to a clip; guided by two branches.

Wan 2.2 A14B has two experts: one for the noisy times, one for those below a boundary. The 5B takes
its first frame as latents at time zero, the others as channels beside the noise.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any, ClassVar, Self

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
    guided,
    tokenized,
)
from inference.models.folder import Part, Parts

WORDS = 512
PATCH = 2  # latent positions per side of a token
SMALL = ["832x480", "480x832", "624x624"]
LARGE = ["1280x720", "720x1280", "960x960"]
FINE = ["1280x704", "704x1280"]
SMALL_HEADS = 12  # of the 1.3B, which knows small sizes only


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale, stride: pixels and frames per latent position.

    shown: a first frame comes as channels beside the noise. placed: it may come as latents.
    boundary: below this share of the times the second expert works; None: there is one.
    """

    channels: int
    scale: int
    stride: int
    heads: int
    shown: bool
    placed: bool
    boundary: float | None

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae, network, whole = configs["vae"], configs["transformer"], configs[""]
        return cls(
            channels=vae.get("z_dim", 16),
            scale=vae.get("scale_factor_spatial", 8),
            stride=vae.get("scale_factor_temporal", 4),
            heads=network["num_attention_heads"],
            shown=network["in_channels"] > vae.get("z_dim", 16),
            placed=bool(whole.get("expand_timesteps")),
            boundary=whole.get("boundary_ratio"),
        )

    @property
    def fps(self) -> int:
        """Frames per second."""
        return 24 if self.placed else 16

    def grid(self, inputs: Inputs) -> tuple[int, int, int]:
        """Frames, rows and columns of latent positions."""
        height, width = clips.sides(inputs)
        frames = (clips.frames(inputs, self.fps) - 1) // self.stride + 1
        return frames, height // self.scale, width // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the positions that the network sees of one clip."""
        frames, rows, columns = self.grid(inputs)
        return frames * (rows // PATCH) * (columns // PATCH)

    def forwards(self, inputs: Inputs) -> int:
        """Count the branches of guidance."""
        return 2 if inputs["guidance"] > 1 else 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        two = self.boundary is not None
        sizes = FINE if self.placed else SMALL if self.heads <= SMALL_HEADS else SMALL + LARGE
        return schema.inputs(
            ["prompt", "image"] if self.shown else ["prompt"],
            prompt=schema.prompt(WORDS),
            negative_prompt=schema.negative_prompt(),
            image=schema.image() if self.shown or self.placed else None,
            size=schema.size(sizes),
            seconds=schema.seconds(5, self.fps),
            steps=schema.steps(40 if two else 50),
            guidance=schema.guidance(4.0 if two else 5.0),
            guidance_2=schema.guidance(3.0) | {"title": "Guidance, low noise"} if two else None,
            seed=schema.seed(),
            count=schema.count(2),
        )


@dataclass(eq=False)
class Shot(Work):
    """A run with a first frame.

    beside: (1, 4 + C, T, h, w) mask and latents of the frame, joined to the noise as channels.
    frame: (1, C, 1, h, w), its latents. free: (1, 1, T, h, w), zero where they stay in place.
    """

    beside: Tensor | None = None
    frame: Tensor | None = None
    free: Tensor | None = None

    def seen(self, latent: Tensor) -> Tensor:
        """Put the first frame where the network looks for it."""
        if self.beside is not None:
            return torch.cat([latent, self.beside], 1)
        if self.frame is None or self.free is None:
            return latent
        return (1 - self.free) * self.frame + self.free * latent


class Wan(Family[Sizes]):
    """Wan 2.1 or 2.2 from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.WanTransformer3DModel"),
        "transformer_2": Part("diffusers.WanTransformer3DModel", needed=False),
        "vae": Part("diffusers.AutoencoderKLWan", wide=True),  # published to be run so
        "text_encoder": Part("transformers.UMT5EncoderModel"),
        "tokenizer": Part("transformers.T5Tokenizer"),
        "image_encoder": Part("transformers.CLIPVisionModel", needed=False),
        "image_processor": Part(
            "transformers.CLIPImageProcessor transformers.CLIPImageProcessorPil", needed=False
        ),
        "scheduler": Part(
            "diffusers.UniPCMultistepScheduler diffusers.FlowMatchEulerDiscreteScheduler"
        ),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "wan"
    TITLE: ClassVar[str] = "Wan"
    TASK: ClassVar[str] = "text-to-video"
    SUMMARY: ClassVar[str] = "A text-to-video or image-to-video model by Alibaba."
    SPREADS: ClassVar[bool] = True
    OUTPUT: ClassVar[dict[str, str]] = clips.OUTPUT
    TIMEOUT: ClassVar[int] = 3600

    @classmethod
    def task(cls, sizes: Sizes) -> str:
        """Name what a folder of these sizes does."""
        return "image-to-video" if sizes.shown else cls.TASK

    def settle(self) -> None:
        """Keep rotation tables per size."""
        self.vae = self.parts["vae"]
        self.experts = [self.parts[name] for name in ("transformer", "transformer_2")
                        if name in self.parts]  # fmt: skip
        for expert in self.experts:
            expert.rope = Hoisted(expert.rope)

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Shot:
        """Read both prompts and the first frame, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        texts = [inputs["negative_prompt"], inputs["prompt"]][-self.sizes.forwards(inputs) :]
        branches = [{"encoder_hidden_states": self.words(text)} for text in texts]
        shape = (self.sizes.channels, *self.sizes.grid(inputs))
        pictures = [
            Picture(self.noise(seed, *shape), self.schedule(inputs["steps"]))
            for seed in self.seeds(inputs)
        ]
        times = pictures[0].scheduler.timesteps
        work = Shot(inputs, pictures, times, branches, tokens=self.sizes.tokens(inputs))
        if inputs.get("image"):
            self.begin(work, clips.fetched(inputs["image"]))
        if self.sizes.placed and work.free is None:
            work.free = torch.ones(1, 1, *shape[1:], device=self.device)
        return work

    def words(self, prompt: str) -> Tensor:
        """Embed a prompt, zero behind its end.  → (1, 512, D)."""
        plain = " ".join(html.unescape(html.unescape(prompt)).split())
        found = tokenized(self.parts["tokenizer"], plain, WORDS)
        ids, mask = found["input_ids"].to(self.device), found["attention_mask"].to(self.device)
        states = self.parts["text_encoder"](ids, mask).last_hidden_state.to(self.dtype)
        return states.masked_fill(mask.unsqueeze(-1) == 0, 0)

    def begin(self, shot: Shot, image: Image.Image) -> None:
        """Tell a run its first frame."""
        height, width = clips.sides(shot.inputs)
        image = clips.fitted(image, height, width)
        frames, rows, columns = self.sizes.grid(shot.inputs)
        if self.sizes.placed:
            shot.frame = self.encoded(clips.pixels(image)[:, :, None])
            shot.free = torch.ones(1, 1, frames, rows, columns, device=self.device)
            shot.free[:, :, 0] = 0
            return
        video = torch.zeros(1, 3, clips.frames(shot.inputs, self.sizes.fps), height, width)
        video[:, :, 0] = clips.pixels(image)
        known = torch.zeros(1, self.sizes.stride, frames, rows, columns, device=self.device)
        known[:, :, 0] = 1
        shot.beside = torch.cat([known, self.encoded(video)], 1)
        if "image_encoder" in self.parts:
            states = self.glimpsed(image)
            for branch in shot.branches:
                branch["encoder_hidden_states_image"] = states

    def encoded(self, video: Tensor) -> Tensor:
        """Encode frames to normalised latents.  (1, 3, F, H, W) → (1, C, T, h, w) float32."""
        latent = self.vae.encode(video.to(self.device)).latent_dist.mode()
        mean, std = self.statistics(latent)
        return (latent - mean) * std

    def statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the latents and the inverse of their deviation."""
        config = self.vae.config
        return clips.spread(config.latents_mean, like), 1.0 / clips.spread(config.latents_std, like)

    def glimpsed(self, image: Image.Image) -> Tensor:
        """Embed the first frame with CLIP.  → (1, 257, D)."""
        seen = self.parts["image_processor"](images=image, return_tensors="pt")["pixel_values"]
        seen = seen.to(self.device, self.dtype)
        found = self.parts["image_encoder"](pixel_values=seen, output_hidden_states=True)
        return found.hidden_states[-2].to(self.dtype)

    def denoise(self, work: Shot) -> Loop:
        """Walk from noise to clips; a step asks for both branches of every clip."""
        expert, boundary = 0, (self.sizes.boundary or 0) * self.scheduler.config.num_train_timesteps
        for index, (t, value) in enumerate(zip(work.times, work.times.tolist(), strict=True)):
            expert = int(self.sizes.boundary is not None and value < boundary)
            asked = [self.forwards(work, clip, t, expert) for clip in work.pictures]
            answers = yield [forward for both in asked for forward in both]
            scale = work.inputs["guidance_2" if expert else "guidance"]
            velocities = guided(answers or (), len(work.branches), scale)
            for clip, velocity in zip(work.pictures, velocities, strict=True):
                if work.shown(index):
                    clip.foresee(velocity, index)
                clip.advance(velocity, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forwards(self, shot: Shot, clip: Picture, t: Tensor, expert: int) -> list[Forward]:
        """Ask one expert for one clip's velocity at time t; a frame in place is at time zero."""
        time = t.expand(1)
        if self.sizes.placed and shot.free is not None:
            time = (shot.free[0, 0, :, ::PATCH, ::PATCH] * t).flatten()[None]  # (1, tokens)
        shot.alike = {"expert": expert}
        return self.ask(shot, hidden_states=shot.seen(clip.latent).to(self.dtype), timestep=time)

    def predict(self, *, expert: int = 0, **rows: Any) -> Tensor:
        """Run one expert.  → (B, C, T, h, w)."""
        velocity: Tensor = self.experts[expert](return_dict=False, **rows)[0]
        return velocity

    def preview(self, work: Shot, index: int) -> Image.Image | None:
        """Show the middle frame of the first clip's estimate where this step has a preview."""
        clean = work.pictures[0].clean
        return self.show(clean[0]) if work.shown(index) and clean is not None else None

    @torch.inference_mode()
    def decode(self, work: Shot) -> list[Clip]:
        """Turn final latents into clips, one after the other."""
        return [self.clip(self.video(work, one.latent), self.sizes.fps) for one in work.pictures]

    def video(self, shot: Shot, latent: Tensor) -> Tensor:
        """Decode one clip.  (1, C, T, h, w) → (3, F, H, W) in -1..1."""
        whole = shot.seen(latent) if shot.beside is None else latent
        mean, std = self.statistics(whole)
        decoded: Tensor = self.vae.decode(whole / std + mean, return_dict=False)[0]
        return decoded[0]
