"""FLUX.2 dev and klein: text to picture by rectified flow over 2x2 patches of normalised latents.

Words are three layers of a language model's states side by side: Mistral's for dev, Qwen's for
klein. Dev reads guidance as a number; klein's base follows two branches, distilled klein neither.
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
from inference.models.family import TABLES, Configs, Family, Hoisted, Inputs, Picture, Work, guided
from inference.models.flux import PATCH
from inference.models.folder import Part, Parts

WORDS = 512
SYSTEM = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing "
    "on object relationships, object\nattribution and actions without speculation."
)
MISTRAL_LAYERS, QWEN_LAYERS = (10, 20, 30), (9, 18, 27)
LONG = 4300  # tokens beyond which the shift no longer follows the number of steps


def time_shift(tokens: int, steps: int) -> float:
    """Give the logarithm by which times shift towards noise: a published fit over both."""
    many = 0.00016927 * tokens + 0.45666666  # at 200 steps
    if tokens > LONG:
        return float(many)
    few = 8.73809524e-05 * tokens + 1.89833333  # at 10 steps
    slope = (many - few) / 190.0
    return float(slope * steps + (many - 200.0 * slope))


@lru_cache(TABLES)
def positions(rows: int, columns: int, device: str) -> Tensor:
    """Give each token its (0, row, column, 0).  (h·w, 4) float32.

    Words' positions are whole numbers, so that the tables of as many words are not taken for these.
    """
    ids = torch.zeros(rows, columns, 4)
    ids[..., 1], ids[..., 2] = torch.arange(rows)[:, None], torch.arange(columns)[None]
    return ids.reshape(-1, 4).to(device)


@lru_cache(TABLES)
def places(words: int, device: str) -> Tensor:
    """Give each word its (0, 0, 0, place).  (words, 4) int64."""
    ids = torch.zeros(words, 4, dtype=torch.int64)
    ids[:, 3] = torch.arange(words)
    return ids.to(device)


@dataclass(frozen=True)
class Sizes:
    """channels: of a token.  scale: pixels per token's side.

    reads: the network reads guidance. fast: it was distilled to few steps and none.
    """

    channels: int
    scale: int
    reads: bool
    fast: bool

    @classmethod
    def of(cls, configs: Configs) -> Self:
        """Read them from the parts' configurations."""
        vae, network = configs["vae"], configs["transformer"]
        scale = PATCH * 2 ** (len(vae["block_out_channels"]) - 1)
        return cls(
            channels=network["in_channels"],
            scale=scale,
            reads=bool(network.get("guidance_embeds", True)),
            fast=bool(configs[""].get("is_distilled")),
        )

    def grid(self, inputs: Inputs) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return inputs["height"] // self.scale, inputs["width"] // self.scale

    def tokens(self, inputs: Inputs) -> int:
        """Count the latent positions of one picture."""
        rows, columns = self.grid(inputs)
        return rows * columns

    def forwards(self, inputs: Inputs) -> int:
        """Count the branches of guidance."""
        return 2 if not self.reads and not self.fast and inputs["guidance"] > 1 else 1

    def inputs(self) -> dict[str, Any]:
        """Give the JSON Schema of what a run is given."""
        return schema.inputs(
            ["prompt"],
            prompt=schema.prompt(WORDS),
            width=schema.side("Width", self.scale),
            height=schema.side("Height", self.scale),
            steps=schema.steps(4, 16) if self.fast else schema.steps(50),
            guidance=None if self.fast else schema.guidance(4.0),
            seed=schema.seed(),
            count=schema.count(),
        )


class Flux2(Family[Sizes]):
    """FLUX.2 from its diffusers folder."""

    PARTS: ClassVar[Parts] = {
        "transformer": Part("diffusers.Flux2Transformer2DModel"),
        "vae": Part("diffusers.AutoencoderKLFlux2"),
        "text_encoder": Part(
            "transformers.Mistral3ForConditionalGeneration transformers.Qwen3ForCausalLM"
        ),
        # The processor would want torchvision, for pictures that are not read here.
        "tokenizer": Part(
            "PixtralProcessor=transformers.PreTrainedTokenizerFast transformers.Qwen2Tokenizer"
        ),
        "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler"),
    }
    SIZES: ClassVar[type[Sizes]] = Sizes
    SPACE: ClassVar[str] = "flux2"
    TITLE: ClassVar[str] = "FLUX.2"
    SUMMARY: ClassVar[str] = "A text-to-image model of 4 to 32 billion parameters."
    TIMEOUT: ClassVar[int] = 600

    def settle(self) -> None:
        """Keep rotation tables per size."""
        self.network, self.vae = self.parts["transformer"], self.parts["vae"]
        self.network.pos_embed = Hoisted(self.network.pos_embed)

    @torch.inference_mode()
    def prepare(self, inputs: Inputs) -> Work:
        """Read the prompt, draw the noise, lay out the times."""
        inputs = self.filled(inputs)
        grid, tokens = self.sizes.grid(inputs), self.sizes.tokens(inputs)
        texts = ["", inputs["prompt"]][-self.sizes.forwards(inputs) :]
        branches = [{"encoder_hidden_states": self.words(text)} for text in texts]
        if self.sizes.reads:
            scale = torch.full([1], float(inputs["guidance"]), device=self.device)
            branches[0]["guidance"] = scale
        sigmas = np.linspace(1.0, 1 / inputs["steps"], inputs["steps"])
        shift = time_shift(tokens, inputs["steps"])
        pictures = [
            Picture(self.start(seed, grid), self.schedule(0, sigmas=sigmas, mu=shift))
            for seed in self.seeds(inputs)
        ]
        times = pictures[0].scheduler.timesteps
        return Work(inputs, pictures, times, branches, {"grid": grid}, tokens)

    def words(self, prompt: str) -> Tensor:
        """Embed a prompt by three layers of the language model.  → (1, 512, 3D)."""
        encoder = self.parts["text_encoder"]
        thinks = type(encoder).__name__.startswith("Qwen")
        found = self.asked_qwen(prompt) if thinks else self.asked_mistral(prompt)
        states = encoder(
            input_ids=found["input_ids"].to(self.device),
            attention_mask=found["attention_mask"].to(self.device),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        layers = [states[layer] for layer in (QWEN_LAYERS if thinks else MISTRAL_LAYERS)]
        return torch.cat(layers, -1).to(self.dtype)

    def asked_mistral(self, prompt: str) -> Any:
        """Tokenize a prompt as Mistral was asked in training; a picture's mark is no word."""
        told = [("system", SYSTEM), ("user", prompt.replace("[IMG]", ""))]
        return self.parts["tokenizer"].apply_chat_template(
            [[{"role": role, "content": [{"type": "text", "text": text}]} for role, text in told]],
            add_generation_prompt=False,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=WORDS,
        )

    def asked_qwen(self, prompt: str) -> Any:
        """Tokenize a prompt as Qwen was asked in training."""
        tokenizer = self.parts["tokenizer"]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
        )
        return tokenizer(
            [text], return_tensors="pt", padding="max_length", truncation=True, max_length=WORDS
        )

    def start(self, seed: int, grid: tuple[int, int]) -> Tensor:
        """Draw one picture's noise as tokens.  → (1, h·w, 4C)."""
        noise = self.noise(seed, self.sizes.channels, *grid)
        return noise.flatten(2).mT.contiguous().to(self.dtype)

    def denoise(self, work: Work) -> Loop:
        """Walk from noise to pictures; a step asks for every branch of every picture."""
        for index, t in enumerate(work.times):
            asked = [self.forwards(work, picture, t) for picture in work.pictures]
            answers = yield [forward for each in asked for forward in each]
            scale = work.inputs.get("guidance", 1)
            velocities = guided(answers or (), len(work.branches), scale)
            for picture, velocity in zip(work.pictures, velocities, strict=True):
                if work.shown(index):
                    picture.foresee(velocity, index)
                picture.advance(velocity, t)
            yield Step(index + 1, len(work.times), self.preview(work, index))

    def forwards(self, work: Work, picture: Picture, t: Tensor) -> list[Forward]:
        """Ask for one picture's velocity at time t, which is of 1000."""
        timestep = t.expand(1).to(picture.latent.dtype) / 1000
        return self.ask(work, hidden_states=picture.latent, timestep=timestep)

    def predict(self, *, grid: tuple[int, int] = (0, 0), **rows: Any) -> Tensor:
        """Run the network.  → (B, h·w, 4C)."""
        told = {"guidance": None} | rows
        words = places(rows["encoder_hidden_states"].shape[1], self.device)
        with self.network.pos_embed.at(grid):
            velocity: Tensor = self.network(
                img_ids=positions(*grid, self.device), txt_ids=words, return_dict=False, **told
            )[0]
        return velocity

    def preview(self, work: Work, index: int) -> Image.Image | None:
        """Show the first picture's estimate where this step has a preview."""
        clean = work.pictures[0].clean
        if not work.shown(index) or clean is None:
            return None
        return self.show(self.unpacked(clean, work.alike["grid"])[0])

    def unpacked(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Undo packing and normalisation.  (1, h·w, 4C) → (1, C, 2h, 2w)."""
        latent = tokens.mT.unflatten(2, grid)  # (1, 4C, h, w)
        norm, least = self.vae.bn, self.vae.config.batch_norm_eps
        mean = norm.running_mean.view(1, -1, 1, 1).to(latent.dtype)
        deviation = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + least).to(latent.dtype)
        return torch.nn.functional.pixel_shuffle(latent * deviation + mean, PATCH)

    @torch.inference_mode()
    def decode(self, work: Work) -> list[Image.Image]:
        """Turn final latents into pictures, one after the other."""
        grid = work.alike["grid"]
        return [self.picture(self.image(picture.latent, grid)) for picture in work.pictures]

    def image(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Decode one picture's tokens.  (1, h·w, 4C) → (3, H, W) in -1..1."""
        decoded: Tensor = self.vae.decode(self.unpacked(tokens, grid), return_dict=False)[0]
        return decoded[0]
