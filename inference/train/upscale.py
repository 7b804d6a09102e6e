"""Train `kinora/glyph-upscale` on emoji drawn large and made small, on a CPU or one GPU.

The font draws no larger than 128 pixels, so the network learns 32 → 128 and is used on any size.
One drawing in twelve is held out; `--score` compares on those with a bicubic enlargement.

    python -m inference.train.upscale --out var/train-upscale --minutes 15
    python -m inference.train.upscale --out var/train-upscale \
        --export inference/weights/glyph-upscale
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from inference.models.glyph_upscale import TIMES, WEIGHTS, Network, bicubic
from inference.train.glyphs import draw, over_white, read_names

LARGE = 128  # pixels per side of a drawing
CROP = 20  # pixels per side of what the network sees in training
HELD_OUT = 12  # one drawing in so many
TONES = ("skin tone", "flag:", "keycap", "family:", "person:", "man:", "woman:", "couple", "kiss:")


def drawings(cache: Path) -> tuple[Tensor, list[str]]:
    """Draw every emoji but flags and skin tones.  → (G, 4, LARGE, LARGE) uint8, names."""
    if not cache.exists():
        names = [name for name in read_names() if not any(word in name for word in TONES)]
        characters = read_names()
        pixels = np.stack([draw(characters[name], LARGE) for name in names])
        np.savez_compressed(cache, pixels=pixels, names=np.array(names))
    stored = np.load(cache, allow_pickle=False)
    return torch.from_numpy(stored["pixels"]).permute(0, 3, 1, 2), [str(n) for n in stored["names"]]


def is_held_out(name: str) -> bool:
    """Tell by its name whether a drawing is kept from training."""
    return crc32(name.encode()) % HELD_OUT == 0


def small(large: Tensor) -> Tensor:
    """Make pictures small again, as the drawings of 64 pixels are made."""
    return functional.avg_pool2d(large, TIMES)


class Data:
    """Drawings to learn from, and those to be judged by."""

    def __init__(self, cache: Path, seed: int) -> None:
        """Part the drawings by name."""
        pixels, names = drawings(cache)
        held = torch.tensor([is_held_out(name) for name in names])
        self.taught, self.held = pixels[~held], pixels[held]
        self.source = torch.Generator().manual_seed(seed)

    def batch(self, size: int) -> Tensor:
        """Cut pieces of drawings on white or on a colour.  → (B, 3, 4·CROP, 4·CROP) in -1..1."""
        edge, made = CROP * TIMES, []
        for _ in range(size):
            pick, top, left, flip, white = (self.below(n) for n in (
                len(self.taught), LARGE - edge + 1, LARGE - edge + 1, 2, 4,
            ))  # fmt: skip
            piece = self.taught[pick, :, top : top + edge, left : left + edge].float() / 255
            colour = torch.rand(3, 1, 1, generator=self.source)
            laid = piece[:3] + (1 - piece[3:]) * (colour if white == 0 else 1)
            made.append(laid.flip(2) if flip else laid)
        return torch.stack(made) * 2 - 1

    def below(self, count: int) -> int:
        """Draw a whole number."""
        return int(torch.randint(count, (), generator=self.source))


def psnr(made: Tensor, true: Tensor) -> Tensor:
    """Peak signal to noise of pictures in -1..1, in dB per picture.  (B, 3, H, W) → (B,)."""
    errors = ((made.clamp(-1, 1) - true) / 2).square().mean((1, 2, 3)).clamp_min(1e-10)
    return -10 * errors.log10()


@torch.no_grad()
def score(network: Any, held: Tensor) -> dict[str, float]:
    """Compare on held-out drawings, whole and on white, with a bicubic enlargement."""
    laid = torch.from_numpy(over_white(held.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
    true = laid.float() / 127.5 - 1
    little = (small(true) * 127.5).round() / 127.5  # a file has eight bits per colour
    ours = torch.cat([psnr(network(part), whole) for part, whole in pairs(little, true)])
    plain = torch.cat([psnr(bicubic(part), whole) for part, whole in pairs(little, true)])
    return {
        "drawings": len(held),
        "psnr": round(float(ours.mean()), 2),
        "bicubic": round(float(plain.mean()), 2),
        "better": round(float((ours > plain).float().mean()), 3),
    }


def pairs(little: Tensor, true: Tensor) -> Any:
    """Go through both in parts."""
    return zip(little.split(16), true.split(16), strict=True)


class Trainer:
    """A training run: its parts, its counters, and how they are stored."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Build everything from the seed, then take up the last checkpoint if there is one."""
        torch.manual_seed(args.seed)
        self.args, self.device = args, torch.device(args.device)
        self.data = Data(args.out / "drawings.npz", args.seed)
        self.network = Network().to(self.device)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=args.rate)
        self.step, self.seconds, self.loss = 0, 0.0, 0.0
        self.stored = args.out / "checkpoint.pt"
        if self.stored.exists():
            self.resume()

    def resume(self) -> None:
        """Continue where the checkpoint stopped, random state included."""
        state = torch.load(self.stored, map_location="cpu", weights_only=False)
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]
        self.data.source.set_state(state["source"])

    def save(self) -> None:
        """Write the checkpoint beside its place, then move it there: a kill leaves the old one."""
        parts = ("network", "average", "optimiser")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in parts}
        state |= {"step": self.step, "seconds": self.seconds, "loss": self.loss}
        state["source"] = self.data.source.get_state()
        torch.save(state, self.stored.with_suffix(".new"))
        self.stored.with_suffix(".new").replace(self.stored)

    @property
    def spent(self) -> float:
        """The used part of the budget, 0..1."""
        return min(self.seconds / (60 * float(self.args.minutes)), 1.0)

    def advance(self) -> None:
        """Take one optimiser step and fold it into the average."""
        true = self.data.batch(self.args.batch).to(self.device)
        loss = functional.smooth_l1_loss(self.network(small(true)), true, beta=0.5)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 0.1)
        rate = self.args.rate * (0.02 + 0.98 * (1 + math.cos(math.pi * self.spent)) / 2)
        self.optimiser.param_groups[0]["lr"] = rate * min((self.step + 1) / 50, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(0.99, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.network.parameters()), 1 - keep
        )
        self.loss += 0.02 * (loss.item() - self.loss) if self.step > 1 else loss.item()

    def run(self) -> None:
        """Train until the budget is spent or a file named `stop` appears in the output folder."""
        saved = time.monotonic()
        while self.spent < 1 and not (self.args.out / "stop").exists():
            began = time.monotonic()
            self.advance()
            now = time.monotonic()
            self.seconds += now - began
            if self.step % 50 == 0:
                print(f"step {self.step} spent {self.spent:.3f} loss {self.loss:.5f}", flush=True)  # noqa: T201
            if now - saved > 60:
                self.save()
                saved = now
        self.save()

    def export(self, folder: Path) -> None:
        """Write the averaged weights in float32: they are small."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.average.state_dict(), folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors writes files that only their owner may read


def main() -> None:
    """Train, score, or export what was trained."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="checkpoint and drawings")
    parser.add_argument("--minutes", type=float, default=15, help="time budget of the schedule")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--device", default="cpu", help="cuda, with a --batch of 512, for a GPU")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--score", action="store_true", help="judge held-out drawings and stop")
    parser.add_argument("--export", type=Path, help="write the averaged weights here and stop")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    if args.export:
        trainer.export(args.export)
    elif not args.score:
        trainer.run()
    print(json.dumps({"step": trainer.step, **score(trainer.average, trainer.data.held)}))  # noqa: T201


if __name__ == "__main__":
    main()
