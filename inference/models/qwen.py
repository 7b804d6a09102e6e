"""Qwen-Image: text to picture by rectified flow over 2x2 patches of VAE latents.

Guided by two branches; the guided estimate keeps the length of the one with the prompt. Words are
the last states of a language model that is asked to describe the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inference.models import clips, schema
from inference.models.contract import Forward, Loop, Step
from inference.models.family import Configs, Family, Inputs, Picture, Work, flow_shift, guided
from inference.models.flux import PATCH, pack, unpack
from inference.models.folder import Part, Parts

WORDS = 1024
# As in training: what the model was told before every prompt, and its length in tokens.
TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity,"
    " text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}"
    "<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATE_TOKENS = 34
NOTHING = " "  # an empty negative prompt, as in training


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale: pixels per token's side."""

    channels: int
    scale: int

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae = configs["vae"]
        return cls(vae["z_dim"], PATCH * 2 ** len(vae["temperal_downsample"]))

    def grid(self, inputs: Inputs) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return inputs["height"] // self.scale, inputs["width"] // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the latent positions of one picture."""
        rows, columns = self.grid(inputs)
        return rows * columns

    def forwards(self, inputs: Inputs) -> int:
        """Count the branches of guidance."""
        return 2 if inputs["guidance"] > 1 else 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        return schema.inputs(
            ["prompt"],
            prompt=schema.prompt(WORDS),
            negative_prompt=schema.negative_prompt(),
            width=schema.side("Width", self.scale, usual=1328),
            height=schema.side("Height", self.scale, usual=1328),
            steps=schema.steps(50),
            guidance=schema.guidance(4.0),
            seed=schema.seed(),
            count=schema.count(),
        )


class QwenImage(Family[Sizes]):
    """Qwen-Image from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.QwenImageTransformer2DModel"),
        "vae": Part("diffusers.AutoencoderKLQwenImage"),
        "text_encoder": Part("transformers.Qwen2_5_VLForConditionalGeneration"),
        "tokenizer": Part("transformers.Qwen2Tokenizer"),
        "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "wan"  # its VAE was made from Wan's, whose encoder it kept
    TITLE: ClassVar[str] = "Qwen-Image"
    SUMMARY: ClassVar[str] = "A 20-billion-parameter text-to-image model that writes, by Alibaba."
    TIMEOUT: ClassVar[int] = 600

    def settle(self) -> None:
        """Name the parts that every step needs; rotation tables are kept by the network itself."""
        self.network, self.vae = self.parts["transformer"], self.parts["vae"]

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Work:
        """Read both prompts, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        texts = [inputs["negative_prompt"] or NOTHING, inputs["prompt"]]
        branches = [
            {"encoder_hidden_states": self.words(text)}
            for text in texts[-self.sizes.forwards(inputs) :]
        ]
        grid, tokens = self.sizes.grid(inputs), self.sizes.tokens(inputs)
        sigmas = np.linspace(1.0, 1 / inputs["steps"], inputs["steps"])
        shift = flow_shift(tokens, self.scheduler.config)
        pictures = [
            Picture(self.start(seed, grid), self.schedule(0, sigmas=sigmas, mu=shift))
            for seed in self.seeds(inputs)
        ]
        times = pictures[0].scheduler.timesteps
        return Work(inputs, pictures, times, branches, {"img_shapes": [[(1, *grid)]]}, tokens)

    def words(self, prompt: str) -> Tensor:
        """Embed a prompt: the states behind the template's beginning.  → (1, words, D)."""
        found = self.parts["tokenizer"](
            [TEMPLATE.format(prompt)],
            max_length=WORDS + TEMPLATE_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        states: Tensor = self.parts["text_encoder"](
            input_ids=found["input_ids"],
            attention_mask=found["attention_mask"],
            output_hidden_states=True,
        ).hidden_states[-1]
        return states[:, TEMPLATE_TOKENS:].to(self.dtype)

    def start(self, seed: int, grid: tuple[int, int]) -> Tensor:
        """Draw one picture's noise as tokens.  → (1, h·w, 4C)."""
        rows, columns = grid
        noise = self.noise(seed, self.sizes.channels, PATCH * rows, PATCH * columns)
        return pack(noise).to(self.dtype)

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for both branches of every picture."""
        for index, t in enumerate(work.times):
            asked = [self.forwards(work, picture, t) for picture in work.pictures]
            answers = yield [forward for both in asked for forward in both]
            velocities = self.guided(answers or [], work)
            for picture, velocity in zip(work.pictures, velocities, strict=True):
                if work.shown(index):
                    picture.foresee(velocity, index)
                picture.advance(velocity, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def guided(self, answers: list[Tensor], work: Work) -> list[Tensor]:
        """Guide, and keep each token's estimate as long as the one with the prompt."""
        pushed = guided(answers, len(work.branches), work.inputs["guidance"])
        if len(work.branches) == 1:
            return pushed
        return [
            one * (given.norm(dim=-1, keepdim=True) / one.norm(dim=-1, keepdim=True))
            for one, given in zip(pushed, answers[1::2], strict=True)
        ]

    def forwards(self, work: Work, picture: Picture, t: Tensor) -> list[Forward]:
        """Ask for one picture's velocity at time t, which is of 1000."""
        timestep = t.expand(1).to(picture.latent.dtype) / 1000
        return self.ask(work, hidden_states=picture.latent, timestep=timestep)

    def predict(self, **given: Any) -> Tensor:
        """Run the network.  → (B, h·w, 4C)."""
        velocity: Tensor = self.network(return_dict=False, **given)[0]
        return velocity

    def preview(self, work: Work, index: int) -> Image.Image | None:
        """Show the first picture's estimate where this step has a preview."""
        clean = work.pictures[0].clean
        if not work.shown(index) or clean is None:
            return None
        return self.show(unpack(clean, *self.sizes.grid(work.inputs))[0])

    @torch.inference_mode()
    def decode(self, work: Work) -> list[Image.Image]:
        """Turn final latents into pictures, one after the other."""
        grid = self.sizes.grid(work.inputs)
        return [self.picture(self.image(picture.latent, grid)) for picture in work.pictures]

    def image(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Decode one picture's tokens.  (1, h·w, 4C) → (3, H, W) in -1..1."""
        latent = unpack(tokens, *grid)[:, :, None].to(self.vae.dtype)  # (1, C, 1, 2h, 2w)
        config = self.vae.config
        deviation = 1.0 / clips.spread(config.latents_std, latent)
        latent = latent / deviation + clips.spread(config.latents_mean, latent)
        decoded: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return decoded[0, :, 0]
