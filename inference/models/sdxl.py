"""Stable Diffusion XL: text to picture by a UNet over VAE latents, guided by two branches.

Words are read by two CLIPs side by side; the second's pooled embedding and the picture's size are
told to the network beside the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from inference.models import schema
from inference.models.contract import Forward, Loop, Step
from inference.models.family import Configs, Family, Inputs, Picture, Work, guided, tokenized
from inference.models.folder import Module, Part, Parts


@dataclass(frozen=True)
class Sizes:
    """channels: of a latent.  scale: pixels per latent position's side.  multiple: of pixels.

    usual: pixels per side. blank: an empty negative prompt is zeros, not embedded words.
    """

    channels: int
    scale: int
    multiple: int
    usual: int
    blank: bool

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae, network = configs["vae"], configs["unet"]
        scale = 2 ** (len(vae["block_out_channels"]) - 1)
        multiple = scale * 2 ** (len(network["block_out_channels"]) - 1)
        blank = bool(configs[""].get("force_zeros_for_empty_prompt", True))
        return cls(network["in_channels"], scale, multiple, network["sample_size"] * scale, blank)

    def grid(self, inputs: Inputs) -> tuple[int, int]:
        """Rows and columns of latent positions."""
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
            prompt=schema.prompt(77),
            negative_prompt=schema.negative_prompt(),
            width=schema.side("Width", self.multiple, usual=self.usual),
            height=schema.side("Height", self.multiple, usual=self.usual),
            steps=schema.steps(30),
            guidance=schema.guidance(5.0),
            seed=schema.seed(),
            count=schema.count(),
        )


class StableDiffusionXL(Family[Sizes]):
    """SDXL from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "unet": Part("diffusers.UNet2DConditionModel"),
        # Its activations leave the range of half precision.
        "vae": Part("diffusers.AutoencoderKL", wide=True),
        "text_encoder": Part("transformers.CLIPTextModel"),
        "tokenizer": Part("transformers.CLIPTokenizer"),
        "text_encoder_2": Part("transformers.CLIPTextModelWithProjection"),
        "tokenizer_2": Part("transformers.CLIPTokenizer"),
        "scheduler": Part("diffusers.EulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "sdxl"
    TITLE: ClassVar[str] = "Stable Diffusion XL"
    SUMMARY: ClassVar[str] = "A text-to-image model of 2.6 billion parameters by Stability AI."

    def settle(self) -> None:
        """Name the parts that every step needs."""
        self.network, self.vae = self.parts["unet"], self.parts["vae"]

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Work:
        """Read both prompts, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        branches = [self.words(inputs["prompt"])]
        if self.sizes.forwards(inputs) == 2:
            branches.insert(0, self.negative(inputs["negative_prompt"], branches[0]))
        size = [inputs["height"], inputs["width"]]
        told = torch.tensor([[*size, 0, 0, *size]], dtype=self.dtype, device=self.device)
        for branch in branches:
            branch["time_ids"] = told  # original size, top left corner, target size
        pictures = [self.start(seed, inputs) for seed in self.seeds(inputs)]
        times = pictures[0].scheduler.timesteps
        return Work(inputs, pictures, times, branches, {}, self.sizes.tokens(inputs))

    def words(self, prompt: str) -> dict[str, Tensor]:
        """Embed a prompt.  → states (1, 77, D + E), pooled (1, E)."""
        first, _ = self.read(prompt, self.parts["text_encoder"], self.parts["tokenizer"])
        second, pooled = self.read(prompt, self.parts["text_encoder_2"], self.parts["tokenizer_2"])
        return {"encoder_hidden_states": torch.cat([first, second], -1), "text_embeds": pooled}

    def read(self, prompt: str, encoder: Module, tokenizer: Module) -> tuple[Tensor, Tensor]:
        """Embed a prompt with one CLIP.  → the last states but one (1, 77, D), its first output."""
        ids = tokenized(tokenizer, prompt, tokenizer.model_max_length)["input_ids"]
        found = encoder(ids.to(self.device), output_hidden_states=True)
        return found.hidden_states[-2], found[0]

    def negative(self, prompt: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embed the negative prompt; an empty one is zeros where the model was trained so."""
        if prompt or not self.sizes.blank:
            return self.words(prompt)
        return {name: torch.zeros_like(one) for name, one in given.items()}

    def start(self, seed: int, inputs: Inputs) -> Picture:
        """Draw one picture's noise at its scheduler's first sigma.  latent (1, C, h, w)."""
        scheduler = self.schedule(inputs["steps"])
        noise = self.noise(seed, self.sizes.channels, *self.sizes.grid(inputs)).to(self.dtype)
        return Picture(noise * scheduler.init_noise_sigma, scheduler)

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for both branches of every picture."""
        for index, t in enumerate(work.times):
            asked = [self.forwards(work, picture, t) for picture in work.pictures]
            answers = yield [forward for both in asked for forward in both]
            noises = guided(answers or (), len(work.branches), work.inputs["guidance"])
            for picture, noise in zip(work.pictures, noises, strict=True):
                self.advance(picture, noise, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forwards(self, work: Work, picture: Picture, t: Tensor) -> list[Forward]:
        """Ask for the noise in one picture at time t."""
        sample = picture.scheduler.scale_model_input(picture.latent, t)
        return self.ask(work, sample=sample, timestep=t.expand(1))

    def predict(self, **given: Any) -> Tensor:
        """Run the network.  → (B, C, h, w)."""
        told = {name: given.pop(name) for name in ("text_embeds", "time_ids")}
        noise: Tensor = self.network(added_cond_kwargs=told, return_dict=False, **given)[0]
        return noise

    @torch.inference_mode()
    def advance(self, picture: Picture, noise: Tensor, t: Tensor) -> None:
        """Take one step, which estimates the picture's end as well."""
        stepped = picture.scheduler.step(noise, t, picture.latent)
        picture.latent, picture.clean = stepped.prev_sample, stepped.pred_original_sample

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
        latent = latent.to(self.vae.dtype) / self.vae.config.scaling_factor
        decoded: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return decoded[0]
