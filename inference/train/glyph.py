"""Train `kinora/glyph` by rectified flow with x0-prediction, on a CPU or one GPU.

Resumes from its last checkpoint; stops by `--minutes` of training or by `--steps`. The learning
rate follows the spent part of whichever budget was given, so that a run always ends annealed.

    python -m inference.train.glyph --out var/train --minutes 95
    python -m inference.train.glyph --out var/train --export inference/weights/glyph
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from inference.models.glyph import (
    LEAST_T,
    SIDE,
    TOKENS,
    encode,
    patches,
    pixels,
    predict,
    tokens_of,
)  # fmt: skip
from inference.train.captions import build_tokenizer, phrase
from inference.train.export import export
from inference.train.glyphs import Glyph, fingerprint, load, over_white

WIDTH = 192
SHOWN = (
    "red heart", "tomato", "loudly crying face", "grinning face", "blue heart", "banana",
    "dog face", "cat face", "pizza", "sunflower", "a yellow star", "crescent moon",
    "smiling face with sunglasses", "angry face", "sleeping face", "thinking face", "frog",
    "tiger", "mushroom", "strawberry", "blue apple", "green cat", "rocket", "robot",
)  # fmt: skip


class Pair(torch.nn.Module):
    """The transformer and its text encoder, trained as one."""

    def __init__(self, words: int) -> None:
        """Build both with random weights."""
        super().__init__()
        self.network = FluxTransformer2DModel(
            patch_size=1, in_channels=48, num_layers=2, num_single_layers=8, attention_head_dim=64,
            num_attention_heads=3, joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH,
            axes_dims_rope=(8, 28, 28), guidance_embeds=False,
        )  # fmt: skip
        self.encoder = CLIPTextModel(CLIPTextConfig(
            vocab_size=words, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2,
            num_attention_heads=3, max_position_embeddings=TOKENS, projection_dim=WIDTH,
            pad_token_id=0, bos_token_id=2, eos_token_id=3,
        ))  # fmt: skip

    def forward(self, noisy: Tensor, t: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Estimate x0.  noisy (B, N, 48), t (B,), ids and mask (B, 16) → (B, N, 48)."""
        states, pooled = encode(self.encoder, ids, mask)
        return predict(self.network, noisy, t, states, pooled)


@dataclass
class Data:
    """All drawings as tensors, and what is needed to caption them."""

    glyphs: list[Glyph]
    images: Tensor  # (G, 3, 32, 32) in -1..1
    weights: Tensor  # (G,) how often each is drawn

    @classmethod
    def of(cls, glyphs: list[Glyph]) -> Data:
        """Lay glyphs over white; recoloured copies are drawn at half the rate."""
        stacked = np.stack([over_white(glyph.pixels) for glyph in glyphs])  # (G, 32, 32, 3)
        images = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1
        originals = next(
            (index for index, glyph in enumerate(glyphs) if glyph.name == "red star"), len(glyphs)
        )
        rates = [1.0 if index < originals else 0.5 for index in range(len(glyphs))]
        return cls(glyphs, images, torch.tensor(rates))

    def batch(self, size: int, source: random.Random) -> tuple[Tensor, list[str]]:
        """Draw shifted pictures and their captions, one in ten empty.  (B, 3, 32, 32)."""
        picks = torch.multinomial(self.weights, size, replacement=True).tolist()
        said = [
            "" if source.random() < 0.1 else phrase(self.glyphs[pick], source) for pick in picks
        ]
        moved = [
            self.images[pick].roll((source.randint(-1, 1), source.randint(-1, 1)), (1, 2))
            if source.random() < 0.5
            else self.images[pick]
            for pick in picks
        ]
        return torch.stack(moved), said


def times_of(count: int) -> Tensor:
    """Draw t, logit-normal, three quarters of them shifted towards noise.  (B,) in 0..1.

    A few hundred drawings can be told apart under nine parts of noise, so that words are needed,
    and therefore learned, only above that: unshifted, one sample in 200 would teach them.
    """
    t = torch.sigmoid(torch.randn(count))
    shift = torch.where(torch.rand(count) < 0.75, 4.0, 1.0)
    return shift * t / (1 + (shift - 1) * t)


def flow_loss(pair: Any, clean: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Weigh the x0 error as a velocity error.  clean (B, N, 48)."""
    t = times_of(clean.shape[0]).to(clean.device)  # (B,)
    at = t[:, None, None]  # (B, 1, 1)
    noisy = (1 - at) * clean + at * torch.randn_like(clean)
    with torch.autocast(clean.device.type, dtype=torch.bfloat16):
        estimate = pair(noisy, t, ids, mask)
    errors: Tensor = (estimate.float() - clean) / at.clamp_min(LEAST_T)  # (B, N, 48)
    return errors.square().mean()


@torch.no_grad()
def sample(pair: Any, tokenizer: Any, prompts: list[str], steps: int, guidance: float) -> Tensor:
    """Draw prompts in one batch.  → (B, 3, 32, 32) in -1..1."""
    device = next(pair.parameters()).device
    ids, mask = (part.to(device) for part in tokens_of(tokenizer, [""] * len(prompts) + prompts))
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    latents = patches(noise).to(device).expand(len(prompts), -1, -1)  # (B, 64, 48)
    times = torch.linspace(1, 0, steps + 1).tolist()
    for now, after in itertools.pairwise(times):
        at = torch.full((2 * len(prompts),), now, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            both = pair(latents.repeat(2, 1, 1), at, ids, mask).float()
        without, given = both.chunk(2)
        clean = without + guidance * (given - without)
        latents = latents + (after - now) * (latents - clean) / max(now, LEAST_T)
    return pixels(latents).clamp(-1, 1)


def save_grid(images: Tensor, path: Path, columns: int = 8, scale: int = 3) -> None:
    """Write pictures side by side.  (B, 3, S, S) in -1..1."""
    count, _, side, _ = images.shape
    rows = math.ceil(count / columns)
    sheet = Image.new("RGB", (columns * side * scale, rows * side * scale), "white")
    for index, image in enumerate(images):
        levels = ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        tile = Image.fromarray(levels).resize((side * scale,) * 2, Image.Resampling.LANCZOS)
        sheet.paste(tile, (index % columns * side * scale, index // columns * side * scale))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


class Trainer:
    """A training run: its parts, its counters, and how they are stored."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Build everything from the seed, then take up the last checkpoint if there is one."""
        torch.manual_seed(args.seed)
        self.args, self.source = args, random.Random(args.seed)  # noqa: S311
        self.device = torch.device(args.device)
        glyphs = load(args.out / "glyphs.npz")
        self.data, self.hash = Data.of(glyphs), fingerprint(glyphs)
        self.tokenizer = build_tokenizer(glyphs)
        self.pair = Pair(len(self.tokenizer)).to(self.device)
        self.average = copy.deepcopy(self.pair).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            self.pair.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
        )
        self.step, self.seconds, self.loss = 0, 0.0, 0.0
        self.stored = args.out / "checkpoint.pt"
        if self.stored.exists():
            self.resume()

    def resume(self) -> None:
        """Continue exactly where the checkpoint stopped, random state included."""
        state = torch.load(self.stored, map_location="cpu", weights_only=False)
        for name in ("pair", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]
        torch.set_rng_state(state["torch"])
        self.source.setstate(state["python"])

    def save(self) -> None:
        """Write the checkpoint beside its place, then move it there: a kill leaves the old one."""
        parts = ("pair", "average", "optimiser")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in parts}
        state |= {"step": self.step, "seconds": self.seconds, "loss": self.loss}
        state |= {"torch": torch.get_rng_state(), "python": self.source.getstate()}
        torch.save(state, self.stored.with_suffix(".new"))
        self.stored.with_suffix(".new").replace(self.stored)

    @property
    def spent(self) -> float:
        """The used part of the budget, 0..1."""
        if self.args.steps:
            return min(self.step / int(self.args.steps), 1.0)
        return min(self.seconds / (60 * float(self.args.minutes)), 1.0)

    def rate(self) -> float:
        """Warm up over 200 steps, then a cosine down to 3 % of the peak."""
        decayed = 0.03 + 0.97 * (1 + math.cos(math.pi * self.spent)) / 2
        return float(self.args.rate * min((self.step + 1) / 200, 1.0) * decayed)

    def advance(self, pair: Any) -> None:
        """Take one optimiser step and fold it into the average."""
        clean, said = self.data.batch(self.args.batch, self.source)
        ids, mask = (part.to(self.device) for part in tokens_of(self.tokenizer, said))
        loss = flow_loss(pair, patches(clean).to(self.device), ids, mask)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.pair.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(self.args.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.pair.parameters()), 1 - keep
        )
        self.loss += 0.02 * (loss.item() - self.loss) if self.step > 1 else loss.item()

    def show(self) -> None:
        """Draw the fixed prompts with the averaged weights."""
        drawn = sample(self.average, self.tokenizer, list(SHOWN), 16, 3.0)
        save_grid(drawn, self.args.out / "grids" / f"{self.step:06d}.png")

    def run(self) -> None:
        """Train until the budget is spent or a file named `stop` appears in the output folder."""
        pair = torch.compile(self.pair) if self.args.compile else self.pair
        stop = self.args.out / "stop"
        saved = logged = time.monotonic()
        while self.spent < 1 and not stop.exists():
            began = time.monotonic()
            self.advance(pair)
            now = time.monotonic()
            self.seconds += now - began
            if self.step % 50 == 0:
                speed = 50 * self.args.batch / (now - logged)
                print(  # noqa: T201
                    f"step {self.step} spent {self.spent:.3f} loss {self.loss:.4f} "
                    f"rate {self.rate():.2e} {speed:.0f} samples/s",
                    flush=True,
                )
                logged = now
            if self.step % self.args.grid == 0:
                self.show()
            if now - saved > 120:
                self.save()
                saved = now
        self.save()
        self.show()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, grids, rendered data")
    parser.add_argument("--minutes", type=float, default=95, help="time budget of the schedule")
    parser.add_argument("--steps", type=int, default=0, help="step budget, instead of time")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.2e-3, help="peak learning rate")
    parser.add_argument("--ema", type=float, default=0.997)
    parser.add_argument("--seed", type=int, default=20261120)
    parser.add_argument("--grid", type=int, default=500, help="steps between sample grids")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--export", type=Path, help="write the averaged weights here and stop")
    return parser.parse_args()


def main() -> None:
    """Train, or export what was trained."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    if args.export:
        export(trainer.average.network, trainer.average.encoder, trainer.tokenizer, args.export)
        print(f"step {trainer.step}, data {trainer.hash}, seed {args.seed} → {args.export}")  # noqa: T201
    else:
        trainer.run()


if __name__ == "__main__":
    main()
