"""Stable Diffusion XL: text to picture by a UNet over VAE latents, guided by two branches.

Words are read by two CLIPs side by side; the second's pooled embedding and the picture's size are
told to the network beside the time.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import diffusers
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
    generator_of,
    guided,
    tokenized,
)
from inference.models.folder import Module, Part, Parts

KARRAS = " karras"
# What people call a scheduler → diffusers' class and its settings; each also with Karras' sigmas.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler a": ("EulerAncestralDiscreteScheduler", {}),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++ 2m sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
}
NAMES = [
    name + more for name in SCHEDULERS for more in ("", KARRAS) if name + more != "euler a" + KARRAS
]  # an ancestral step has no other sigmas in diffusers


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
            scheduler=schema.scheduler(NAMES),
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
        "scheduler": Part(
            "diffusers.EulerDiscreteScheduler diffusers.EulerAncestralDiscreteScheduler "
            "diffusers.DPMSolverMultistepScheduler"
        ),
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
        generator = generator_of(seed)
        noise = self.noise(generator, self.sizes.channels, *self.sizes.grid(inputs)).to(self.dtype)
        scheduler = self.scheduled(inputs)
        return Picture(noise * scheduler.init_noise_sigma, scheduler, generator=generator)

    def scheduled(self, inputs: Inputs) -> Module:
        """Make a picture's own scheduler of the asked kind, at its first step."""
        name = inputs["scheduler"]
        kind, told = SCHEDULERS[name.removesuffix(KARRAS)]
        if name.endswith(KARRAS):
            told = told | {"use_karras_sigmas": True}
        made = getattr(diffusers, kind).from_config(self.scheduler.config, **told)
        made.set_timesteps(inputs["steps"], device=self.device)
        made.set_begin_index(0)
        return made

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for both branches of every picture."""
        for index, t in enumerate(work.times):
            asked = [self.forwards(work, picture, t) for picture in work.pictures]
            answers = yield [forward for both in asked for forward in both]
            noises = guided(answers or (), len(work.branches), work.inputs["guidance"])
            for picture, noise in zip(work.pictures, noises, strict=True):
                self.advance(picture, noise, t, shown=work.shown(index))
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
    def advance(self, picture: Picture, noise: Tensor, t: Tensor, *, shown: bool) -> None:
        """Take one step; where it is shown, estimate the picture's end as well."""
        scheduler = picture.scheduler
        if shown:  # of every kind: x0 = x - σ·ε, where x is 1·x0 + σ·ε or α·(x0 + σ·ε)
            sigma = scheduler.sigmas[scheduler.step_index or 0].to(picture.latent)
            spread = 1.0 if hasattr(scheduler, "is_scale_input_called") else (sigma**2 + 1) ** 0.5
            picture.clean = picture.latent * spread - sigma * noise
        named = inspect.signature(scheduler.step).parameters
        drawn = {"generator": picture.generator} if "generator" in named else {}
        picture.latent = scheduler.step(noise, t, picture.latent, return_dict=False, **drawn)[0]

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
