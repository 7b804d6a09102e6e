"""Stable Diffusion 3.5: text to picture by rectified flow over VAE latents, guided by two branches.

Words are read by two CLIPs side by side and by T5 behind them; a folder may leave T5 out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from inference.models import schema
from inference.models.contract import Forward, Loop, Step
from inference.models.family import (
    Configs,
    Family,
    Inputs,
    Picture,
    Work,
    flow_shift,
    guided,
    tokenized,
)
from inference.models.folder import Part, Parts

WORDS = 256  # that T5 reads


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale: pixels per latent position's side.  patch: of a token.

    states: width of the words as the network takes them. most: pixels per side.
    """

    channels: int
    scale: int
    patch: int
    states: int
    most: int

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae, network = configs["vae"], configs["transformer"]
        scale, patch = 2 ** (len(vae["block_out_channels"]) - 1), network["patch_size"]
        most = min(2048, network["pos_embed_max_size"] * patch * scale)
        return cls(network["in_channels"], scale, patch, network["joint_attention_dim"], most)

    def grid(self, inputs: Inputs) -> tuple[int, int]:
        """Rows and columns of latent positions."""
        return inputs["height"] // self.scale, inputs["width"] // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the positions that the network sees of one picture."""
        rows, columns = self.grid(inputs)
        return (rows // self.patch) * (columns // self.patch)

    def forwards(self, inputs: Inputs) -> int:
        """Count the branches of guidance."""
        return 2 if inputs["guidance"] > 1 else 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        multiple = self.scale * self.patch
        usual = min(1024, self.most)
        return schema.inputs(
            ["prompt"],
            prompt=schema.prompt(WORDS),
            negative_prompt=schema.negative_prompt(),
            width=schema.side("Width", multiple, most=self.most, usual=usual),
            height=schema.side("Height", multiple, most=self.most, usual=usual),
            steps=schema.steps(28),
            guidance=schema.guidance(3.5),
            seed=schema.seed(),
            count=schema.count(),
        )


class StableDiffusion3(Family[Sizes]):
    """SD3 or SD3.5 from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.SD3Transformer2DModel"),
        "vae": Part("diffusers.AutoencoderKL"),
        "text_encoder": Part("transformers.CLIPTextModelWithProjection"),
        "tokenizer": Part("transformers.CLIPTokenizer"),
        "text_encoder_2": Part("transformers.CLIPTextModelWithProjection"),
        "tokenizer_2": Part("transformers.CLIPTokenizer"),
        "text_encoder_3": Part("transformers.T5EncoderModel", needed=False),
        "tokenizer_3": Part("transformers.T5Tokenizer", needed=False),
        "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "sd3"
    TITLE: ClassVar[str] = "Stable Diffusion 3.5"
    SUMMARY: ClassVar[str] = "A text-to-image model of up to 8 billion parameters by Stability AI."

    def settle(self) -> None:
        """Name the parts that every step needs."""
        self.network, self.vae = self.parts["transformer"], self.parts["vae"]

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Work:
        """Read both prompts, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        texts = [inputs["negative_prompt"], inputs["prompt"]][-self.sizes.forwards(inputs) :]
        shape, tokens = (self.sizes.channels, *self.sizes.grid(inputs)), self.sizes.tokens(inputs)
        told: dict[str, float] = {}
        if self.scheduler.config.use_dynamic_shifting:
            told["mu"] = flow_shift(tokens, self.scheduler.config)
        pictures = [
            Picture(self.noise(seed, *shape).to(self.dtype), self.schedule(inputs["steps"], **told))
            for seed in self.seeds(inputs)
        ]
        times = pictures[0].scheduler.timesteps
        return Work(inputs, pictures, times, [self.words(text) for text in texts], {}, tokens)

    def words(self, prompt: str) -> dict[str, Tensor]:
        """Embed a prompt.  → states (1, 77 + 256, D), pooled (1, E)."""
        first, first_pooled = self.read(prompt, "")
        second, second_pooled = self.read(prompt, "_2")
        both, long = torch.cat([first, second], -1), self.read_long(prompt)
        both = torch.nn.functional.pad(both, (0, long.shape[-1] - both.shape[-1]))
        return {
            "encoder_hidden_states": torch.cat([both, long], -2),
            "pooled_projections": torch.cat([first_pooled, second_pooled], -1),
        }

    def read(self, prompt: str, which: str) -> tuple[Tensor, Tensor]:
        """Embed a prompt with one CLIP.  → the last states but one (1, 77, D), pooled (1, E)."""
        tokenizer, encoder = self.parts[f"tokenizer{which}"], self.parts[f"text_encoder{which}"]
        length = self.parts["tokenizer"].model_max_length
        ids = tokenized(tokenizer, prompt, length)["input_ids"]
        found = encoder(ids.to(self.device), output_hidden_states=True)
        return found.hidden_states[-2], found[0]

    def read_long(self, prompt: str) -> Tensor:
        """Embed a prompt with T5, with zeros where there is none.  → (1, 256, D)."""
        if "text_encoder_3" not in self.parts:
            return torch.zeros(1, WORDS, self.sizes.states, device=self.device, dtype=self.dtype)
        ids = tokenized(self.parts["tokenizer_3"], prompt, WORDS)["input_ids"]
        states: Tensor = self.parts["text_encoder_3"](ids.to(self.device))[0]
        return states

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for both branches of every picture."""
        for index, t in enumerate(work.times):
            asked = [self.forwards(work, picture, t) for picture in work.pictures]
            answers = yield [forward for both in asked for forward in both]
            velocities = guided(answers or (), len(work.branches), work.inputs["guidance"])
            for picture, velocity in zip(work.pictures, velocities, strict=True):
                if work.shown(index):
                    picture.foresee(velocity, index)
                picture.advance(velocity, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forwards(self, work: Work, picture: Picture, t: Tensor) -> list[Forward]:
        """Ask for one picture's velocity at time t."""
        return self.ask(work, hidden_states=picture.latent, timestep=t.expand(1))

    def predict(self, **given: Any) -> Tensor:
        """Run the network.  → (B, C, h, w)."""
        velocity: Tensor = self.network(return_dict=False, **given)[0]
        return velocity

    def preview(self, work: Work, index: int) -> Image.Image | None:
        """Show the first picture's estimate where this step has a preview."""
        clean = work.pictures[0].clean
        return self.show(clean[0]) if work.shown(index) and clean is not None else None

    @torch.inference_mode()
    def decode(self, work: Work) -> list[Image.Image]:
        """Turn final latents into pictures, one after the other."""
        return [self.picture(self.image(picture.latent)) for picture in work.pictures]

    def image(self, latent: Tensor) -> Tensor:
        """Decode one picture.  (1, C, h, w) → (3, H, W) in -1..1."""
        latent = latent / self.vae.config.scaling_factor + self.vae.config.shift_factor
        decoded: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return decoded[0]
