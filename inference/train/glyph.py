"""Train `kinora/glyph` by rectified flow with x0-prediction, on a CPU or one GPU.

Resumes from its last checkpoint; stops by `--minutes` of training or by `--steps`. The learning
rate follows the spent part of whichever budget was given, so that a run always ends annealed.
`--from` starts from stored weights; a GPU takes patches of 4 and larger batches (`--gpu`), in runs
of at most ten minutes that may be repeated until the budget is spent.

    python -m inference.train.glyph --out var/train --from inference/weights/glyph --minutes 60
    python -m inference.train.glyph --out var/train --gpu --minutes 20 --leave 9
    python -m inference.train.glyph --out var/train --export inference/weights/glyph
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from inference.models.glyph import (
    LEAST_T,
    SIDE,
    WIDE,
    patch_of,
    patches,
    pixels,
    spread,
    tokens_of,
)  # fmt: skip
from inference.train.captions import build_tokenizer
from inference.train.export import export
from inference.train.glyphs import fingerprint, load
from inference.train.pair import Pair, warm
from inference.train.scenes import Scenes

GPU = {
    "device": "cuda", "patch": 4, "batch": 1024, "ema": 0.9995, "workers": 12, "compile": True,
    "wide": 8, "grid": 2000,
}  # fmt: skip
SHOWN = (
    "red heart", "tomato", "loudly crying face", "grinning face", "blue heart", "banana",
    "dog face", "cat face", "pizza", "sunflower", "a yellow star", "crescent moon",
    "smiling face with sunglasses", "angry face", "sleeping face", "thinking face", "frog",
    "tiger", "mushroom", "strawberry", "blue apple", "green cat", "rocket", "robot",
    "airplane", "bicycle", "coffee", "purple guitar", "tiny red heart", "a dog and a cat",
    "red heart and blue star", "green tree above yellow car",
)  # fmt: skip


class Batches(Dataset[tuple[Tensor, list[str]]]):
    """The batch of every step, by the step's number: one in `wide` is of wide pictures."""

    def __init__(self, scenes: Scenes, size: int, wide: int) -> None:
        """Lay out `size` pictures per batch, fewer of the wide ones: as many patches."""
        self.scenes, self.size, self.wide = scenes, size, wide

    def __getitem__(self, step: int) -> tuple[Tensor, list[str]]:
        """Make the batch of one step.  → (B, 3, S, S), B captions."""
        if self.wide and step % self.wide == self.wide - 1:
            return self.scenes.batch(step, self.size * SIDE**2 // WIDE**2, WIDE)
        return self.scenes.batch(step, self.size, SIDE)

    def from_step(self, step: int, workers: int) -> Iterator[tuple[Tensor, list[str]]]:
        """Yield batches from a step on, made ahead where there are cores for it."""
        numbers: Any = itertools.count(step)
        return iter(DataLoader(self, batch_size=None, sampler=numbers, num_workers=workers))


def times_of(count: int) -> Tensor:
    """Draw t, logit-normal, three quarters of them shifted towards noise.  (B,) in 0..1.

    A few hundred drawings can be told apart under nine parts of noise, so that words are needed,
    and therefore learned, only above that: unshifted, one sample in 200 would teach them.
    """
    t = torch.sigmoid(torch.randn(count))
    shift = torch.where(torch.rand(count) < 0.75, 4.0, 1.0)
    return shift * t / (1 + (shift - 1) * t)


@contextmanager
def steady(device: str) -> Iterator[None]:
    """Compute in bfloat16, with the attention that a device goes backward through fastest."""
    fused = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    fastest = [SDPBackend.MATH] if device == "cpu" else fused
    with torch.autocast(device, dtype=torch.bfloat16), sdpa_kernel(fastest):
        yield


def flow_loss(pair: Any, images: Tensor, ids: Tensor, mask: Tensor, patch: int) -> Tensor:
    """Weigh the x0 error as a velocity error.  images (B, 3, S, S)."""
    clean = patches(images, patch)  # (B, N, C)
    t = times_of(clean.shape[0]).to(clean.device)  # (B,)
    at = t[:, None, None]  # (B, 1, 1)
    noisy = (1 - at) * clean + at * spread(images.shape[-1]) * torch.randn_like(clean)
    with steady(clean.device.type):
        estimate = pair(noisy, t, ids, mask)
    errors: Tensor = (estimate.float() - clean) / at.clamp_min(LEAST_T)  # (B, N, C)
    return errors.square().mean()


@torch.no_grad()
def sample(pair: Any, tokenizer: Any, prompts: list[str], steps: int, guidance: float) -> Tensor:
    """Draw prompts in one batch.  → (B, 3, SIDE, SIDE) in -1..1."""
    device = next(pair.parameters()).device
    ids, mask = (part.to(device) for part in tokens_of(tokenizer, [""] * len(prompts) + prompts))
    noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    patch = patch_of(pair.network.config.in_channels)
    latents = (patches(noise, patch) * spread(SIDE)).to(device).expand(len(prompts), -1, -1)
    times = torch.linspace(1, 0, steps + 1).tolist()
    for now, after in itertools.pairwise(times):
        at = torch.full((2 * len(prompts),), now, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            both = pair(latents.repeat(2, 1, 1), at, ids, mask).float()
        without, given = both.chunk(2)
        clean = without + guidance * (given - without)
        latents = latents + (after - now) * (latents - clean) / max(now, LEAST_T)
    return pixels(latents).clamp(-1, 1)


def save_grid(images: Tensor, path: Path, columns: int = 8, scale: int = 2) -> None:
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
        self.args, self.device = args, torch.device(args.device)
        glyphs = load(args.out / "glyphs.npz", WIDE)
        sides = (SIDE, WIDE) if args.wide else (SIDE,)
        self.hash, self.scenes = fingerprint(glyphs), Scenes(glyphs, sides, args.seed)
        self.tokenizer = build_tokenizer(glyphs)
        self.pair = Pair(len(self.tokenizer), args.patch)
        self.stored = args.out / "checkpoint.pt"
        if args.warm and not self.stored.exists():
            warm(self.pair, self.tokenizer, args.warm)
        self.pair.to(self.device)
        self.average = copy.deepcopy(self.pair).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            self.pair.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
        )
        self.step, self.seconds, self.loss = 0, 0.0, 0.0
        if self.stored.exists():
            self.resume()

    def resume(self) -> None:
        """Continue where the checkpoint stopped, random state included."""
        state = torch.load(self.stored, map_location="cpu", weights_only=False)
        for name in ("pair", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]
        torch.set_rng_state(state["torch"])
        torch.cuda.set_rng_state_all(state.get("cuda", []))

    def save(self) -> None:
        """Write the checkpoint beside its place, then move it there: a kill leaves the old one."""
        parts = ("pair", "average", "optimiser")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in parts}
        state |= {"step": self.step, "seconds": self.seconds, "loss": self.loss}
        state |= {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
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

    def advance(self, pair: Any, images: Tensor, said: list[str]) -> None:
        """Take one optimiser step and fold it into the average."""
        ids, mask = (part.to(self.device) for part in tokens_of(self.tokenizer, said))
        loss = flow_loss(pair, images.to(self.device), ids, mask, self.args.patch)
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
        if self.step % 10 == 1:  # reading the loss waits for the device
            now = loss.item()
            self.loss += 0.15 * (now - self.loss) if self.step > 1 else now

    def show(self) -> None:
        """Draw the fixed prompts with the averaged weights."""
        drawn = sample(self.average, self.tokenizer, list(SHOWN), 16, 3.0)
        save_grid(drawn, self.args.out / "grids" / f"{self.step:06d}.png")

    def run(self) -> None:
        """Train until the budget or the visit is over, or a file named `stop` appears."""
        pair = torch.compile(self.pair, dynamic=False) if self.args.compile else self.pair
        data = Batches(self.scenes, self.args.batch, self.args.wide)
        batches = data.from_step(self.step, self.args.workers)
        stop, came = self.args.out / "stop", time.monotonic()
        saved = logged = came
        while self.spent < 1 and not stop.exists() and logged - came < 60 * self.args.leave:
            began = time.monotonic()
            self.advance(pair, *next(batches))
            now = time.monotonic()
            self.seconds += now - began
            if self.step % 20 == 0:
                self.tell(20 * self.args.batch / (now - logged))
                logged = now
            if self.step % self.args.grid == 0:
                self.show()
            if now - saved > 120:
                self.save()
                saved = now
        self.save()
        self.show()

    def tell(self, speed: float) -> None:
        """Write one line of the log."""
        print(  # noqa: T201
            f"step {self.step} spent {self.spent:.3f} loss {self.loss:.4f} "
            f"rate {self.rate():.2e} {speed:.0f} samples/s",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, grids, rendered data")
    parser.add_argument("--from", dest="warm", type=Path, help="weights to start from")
    parser.add_argument("--minutes", type=float, default=95, help="time budget of the schedule")
    parser.add_argument("--steps", type=int, default=0, help="step budget, instead of time")
    parser.add_argument("--leave", type=float, default=math.inf, help="minutes of this visit")
    parser.add_argument("--patch", type=int, default=8, help="pixels per side of a patch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--wide", type=int, default=0, help="one in so many steps is at 96 pixels")
    parser.add_argument("--rate", type=float, default=8e-4, help="peak learning rate")
    parser.add_argument("--ema", type=float, default=0.997)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--grid", type=int, default=500, help="steps between sample grids")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that lay out batches")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--gpu", action="store_true", help="the recipe of one large GPU")
    parser.add_argument("--export", type=Path, help="write the averaged weights here and stop")
    parser.set_defaults(**GPU if "--gpu" in sys.argv else {})
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
