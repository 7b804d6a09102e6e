"""HunyuanVideo: text to clip by rectified flow; guidance is a number that the network reads.

Words are states of a language model that is asked to describe the video; CLIP's pooled embedding
drives the modulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inference.models import clips, schema
from inference.models.contract import Clip, Forward, Loop, Step
from inference.models.family import Configs, Family, Hoisted, Inputs, Picture, Work, tokenized
from inference.models.folder import Part, Parts

WORDS = 256
POOLED_WORDS = 77
FPS = 24
SIZES = ["960x544", "544x960", "720x720", "1280x720", "720x1280"]
# As in training: what the model was told before every prompt, and its length in tokens.
TEMPLATE = (
    "<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following "
    "aspects: 1. The main content and theme of the video.2. The color, shape, size, texture, "
    "quantity, text, and spatial relationships of the objects.3. Actions, events, behaviors "
    "temporal relationships, physical movement changes of the objects.4. background environment, "
    "light, style and atmosphere.5. camera angles, movements, and transitions used in the video:"
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
)
TEMPLATE_TOKENS = 95
LAYERS_LEFT_OUT = 2  # the language model's last ones


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale, stride: pixels and frames per latent position.

    patch: latent positions per side of a token.
    """

    channels: int
    scale: int
    stride: int
    patch: int

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae, network = configs["vae"], configs["transformer"]
        return cls(
            channels=network["in_channels"],
            scale=vae["spatial_compression_ratio"],
            stride=vae["temporal_compression_ratio"],
            patch=network["patch_size"],
        )

    def grid(self, inputs: Inputs) -> tuple[int, int, int]:
        """Frames, rows and columns of latent positions."""
        height, width = clips.sides(inputs)
        frames = (clips.frames(inputs, FPS) - 1) // self.stride + 1
        return frames, height // self.scale, width // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the positions that the network sees of one clip."""
        frames, rows, columns = self.grid(inputs)
        return frames * (rows // self.patch) * (columns // self.patch)

    def forwards(self, inputs: Inputs) -> int:
        """Guidance costs nothing here."""
        return 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        return schema.inputs(
            ["prompt"],
            prompt=schema.prompt(WORDS),
            size=schema.size(SIZES),
            seconds=schema.seconds(5, FPS),
            steps=schema.steps(50),
            guidance=schema.guidance(6.0),
            seed=schema.seed(),
            count=schema.count(2),
        )


class HunyuanVideo(Family[Sizes]):
    """HunyuanVideo from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.HunyuanVideoTransformer3DModel"),
        "vae": Part("diffusers.AutoencoderKLHunyuanVideo"),
        "text_encoder": Part("transformers.LlamaModel"),
        "tokenizer": Part("transformers.LlamaTokenizer"),
        "text_encoder_2": Part("transformers.CLIPTextModel"),
        "tokenizer_2": Part("transformers.CLIPTokenizer"),
        "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "hunyuan"
    TITLE: ClassVar[str] = "HunyuanVideo"
    TASK: ClassVar[str] = "text-to-video"
    SUMMARY: ClassVar[str] = "A 13-billion-parameter text-to-video model by Tencent."
    OUTPUT: ClassVar[dict[str, str]] = clips.OUTPUT
    TIMEOUT: ClassVar[int] = 3600

    def settle(self) -> None:
        """Keep rotation tables per size; decode in tiles, as published: 720p would not fit."""
        self.network, self.vae = self.parts["transformer"], self.parts["vae"]
        self.network.rope = Hoisted(self.network.rope)
        self.vae.enable_tiling()

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Work:
        """Read the prompt, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        shape = (self.sizes.channels, *self.sizes.grid(inputs))
        sigmas = np.linspace(1.0, 0.0, inputs["steps"] + 1)[:-1]
        pictures = [
            Picture(self.noise(seed, *shape), self.schedule(0, sigmas=sigmas))
            for seed in self.seeds(inputs)
        ]
        branch = self.words(inputs["prompt"])
        scale = torch.tensor([float(inputs["guidance"])], dtype=self.dtype, device=self.device)
        branch["guidance"] = scale * 1000.0
        times = pictures[0].scheduler.timesteps
        return Work(inputs, pictures, times, [branch], {}, self.sizes.tokens(inputs))

    def words(self, prompt: str) -> dict[str, Tensor]:
        """Embed a prompt.  → states (1, 256, D), which of them are words, pooled (1, E)."""
        length = WORDS + TEMPLATE_TOKENS
        found = tokenized(self.parts["tokenizer"], TEMPLATE.format(prompt), length)
        ids, mask = found["input_ids"].to(self.device), found["attention_mask"].to(self.device)
        states = self.parts["text_encoder"](
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states[-(LAYERS_LEFT_OUT + 1)]
        ids = tokenized(self.parts["tokenizer_2"], prompt, POOLED_WORDS)["input_ids"]
        pooled = self.parts["text_encoder_2"](ids.to(self.device)).pooler_output
        return {
            "encoder_hidden_states": states[:, TEMPLATE_TOKENS:].to(self.dtype),
            "encoder_attention_mask": mask[:, TEMPLATE_TOKENS:].to(self.dtype),
            "pooled_projections": pooled.to(self.dtype),
        }

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to clips; a step asks for one forward per clip."""
        for index, t in enumerate(work.times):
            answers = yield [self.forward(work, clip, t) for clip in work.pictures]
            for clip, velocity in zip(work.pictures, answers or (), strict=True):
                if work.shown(index):
                    clip.foresee(velocity, index)
                clip.advance(velocity, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forward(self, work: Work, clip: Picture, t: Tensor) -> Forward:
        """Ask for one clip's velocity at time t."""
        rows = {"hidden_states": clip.latent.to(self.dtype), "timestep": t.expand(1).float()}
        return self.ask(work, **rows)[0]

    def predict(self, **given: Any) -> Tensor:
        """Run the network.  → (B, C, T, h, w)."""
        velocity: Tensor = self.network(return_dict=False, **given)[0]
        return velocity

    def preview(self, work: Work, index: int) -> Image.Image | None:
        """Show the middle frame of the first clip's estimate where this step has a preview."""
        clean = work.pictures[0].clean
        return self.show(clean[0]) if work.shown(index) and clean is not None else None

    @torch.inference_mode()
    def decode(self, work: Work) -> list[Clip]:
        """Turn final latents into clips, one after the other."""
        return [self.clip(self.video(clip.latent), FPS) for clip in work.pictures]

    def video(self, latent: Tensor) -> Tensor:
        """Decode one clip.  (1, C, T, h, w) → (3, F, H, W) in -1..1."""
        latent = latent.to(self.vae.dtype) / self.vae.config.scaling_factor
        decoded: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return decoded[0]
