"""Train `kinora/glyph-motion` by rectified flow with x0-prediction, on a CPU or one GPU.

Resumes from its last checkpoint, and may be repeated until the budget is spent. A GPU takes larger
batches (`--gpu --minutes 18 --leave 9`, twice).

    python -m inference.train.motion --out var/train-motion --data var/train/glyphs.npz --minutes 45
    python -m inference.train.motion --out var/train-motion --data var/train/glyphs.npz \
        --export inference/weights/glyph-motion
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from inference.models.glyph_motion import HANDS, SHIFT, WORDS, predict, told
from inference.models.motion_field import EDGE, SCALE, ink, seen
from inference.train.glyphs import fingerprint, load
from inference.train.motion_export import export
from inference.train.motions import Box, build_tokenizer, caption, choose, field

WIDTH, HEADS, LAYERS = 128, 2, 6
PICTURES = 3000  # made once; every clip moves one of them
LENGTHS = (8, 8, 16, 16, 24)  # fields of a batch's clips
GPU = {"device": "cuda", "batch": 1024, "ema": 0.9995, "compile": True}


class Pair(torch.nn.Module):
    """The transformer and its text encoder, trained as one."""

    def __init__(self, words: int) -> None:
        """Build both with random weights."""
        super().__init__()
        self.network = WanTransformer3DModel(
            patch_size=(1, EDGE, EDGE), num_attention_heads=HEADS, attention_head_dim=64,
            in_channels=7 + HANDS, out_channels=3, text_dim=WIDTH, freq_dim=128, ffn_dim=4 * WIDTH,
            num_layers=LAYERS, rope_max_seq_len=32,
        )  # fmt: skip
        self.encoder = CLIPTextModel(CLIPTextConfig(
            vocab_size=words, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=WORDS, projection_dim=WIDTH,
            pad_token_id=0, bos_token_id=2, eos_token_id=3,
        ))  # fmt: skip

    def forward(self, noisy: Tensor, shown: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        """Estimate fields.  noisy (B, 3, T, E, E), shown (B, 4, E, E), t (B,), ids (B, WORDS)."""
        states = self.encoder(input_ids=ids).last_hidden_state
        return predict(self.network, noisy, shown, t, states)


class Data:
    """Pictures of one drawing each, and the motions that they are put through."""

    def __init__(self, path: Path, seed: int) -> None:
        """Make the pictures from stored drawings."""
        glyphs = load(path)
        self.hash, self.source = fingerprint(glyphs), random.Random(seed)  # noqa: S311
        stacked = np.stack([glyph.pixels for glyph in glyphs])
        drawings = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255  # (G, 4, S, S)
        pictures = [placed(self.source.choice(drawings), self.source) for _ in range(PICTURES)]
        self.boxes = [Box.of(ink(picture)) for picture in pictures]
        self.shown = torch.stack([seen(picture) for picture in pictures])  # (N, 4, E, E)

    def batch(self, size: int) -> tuple[Tensor, Tensor, list[str]]:
        """Draw clips of one length.  → fields (B, 3, T, E, E), shown (B, 4, E, E), captions."""
        frames = self.source.choice(LENGTHS)
        picks = [self.source.randrange(PICTURES) for _ in range(size)]
        motions = [choose(self.source) for _ in range(size)]
        pairs = zip(motions, picks, strict=True)
        fields = torch.stack([field(motion, self.boxes[pick], frames) for motion, pick in pairs])
        said = [
            "" if self.source.random() < 0.1 else caption(motion, self.source) for motion in motions
        ]
        return fields.transpose(1, 2) * SCALE, self.shown[picks], said


def placed(drawing: Tensor, source: random.Random) -> Tensor:
    """Put a drawing somewhere, in some size, on a plain colour.

    drawing: (4, S, S), premultiplied colour and opacity in 0..1.  → (3, 64, 64) in -1..1.
    """
    size = source.choice((64, 40, 40, source.randrange(24, 65)))
    small = functional.interpolate(drawing[None], size=(size, size), mode="area")[0]
    room = 64 - size
    left, top = (round(source.betavariate(4, 4) * room) for _ in range(2))
    laid = functional.pad(small, (left, room - left, top, room - top))
    plain = source.random() < 0.7
    behind = torch.ones(3) if plain else torch.tensor([source.random() for _ in range(3)])
    return (laid[:3] + (1 - laid[3:]) * behind[:, None, None]) * 2 - 1


def times_of(count: int) -> Tensor:
    """Draw times, half of them as sampling walks them, half nearer to noise.  (B,) in 0..1.

    Motions can be told apart under nineteen parts of noise, so only above that are words learned.
    """
    t = torch.sigmoid(1.2 * torch.randn(count))
    shift = torch.where(torch.rand(count) < 0.5, 4 * SHIFT, SHIFT)
    return shift * t / (1 + (shift - 1) * t)


def flow_loss(pair: Any, clean: Tensor, shown: Tensor, ids: Tensor) -> Tensor:
    """Weigh the x0 error, more where little noise is left.  clean (B, 3, T, E, E)."""
    t = times_of(clean.shape[0]).to(clean.device)
    at = t[:, None, None, None, None]
    noisy = (1 - at) * clean + at * torch.randn_like(clean)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=clean.is_cuda):
        estimate = pair(noisy, shown, t, ids)
    errors: Tensor = (estimate.float() - clean) / at.clamp_min(0.25)
    return errors.square().mean()


class Trainer:
    """A training run: its parts, its counters, and how they are stored."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Build everything from the seed, then take up the last checkpoint if there is one."""
        torch.manual_seed(args.seed)
        self.args, self.device = args, torch.device(args.device)
        self.data = Data(args.data, args.seed)
        self.tokenizer = build_tokenizer(WORDS)
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
        """Continue where the checkpoint stopped, random state included."""
        state = torch.load(self.stored, map_location="cpu", weights_only=False)
        for name in ("pair", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]
        torch.set_rng_state(state["torch"])
        self.data.source.setstate(state["python"])

    def save(self) -> None:
        """Write the checkpoint beside its place, then move it there: a kill leaves the old one."""
        parts = ("pair", "average", "optimiser")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in parts}
        state |= {"step": self.step, "seconds": self.seconds, "loss": self.loss}
        state |= {"torch": torch.get_rng_state(), "python": self.data.source.getstate()}
        torch.save(state, self.stored.with_suffix(".new"))
        self.stored.with_suffix(".new").replace(self.stored)

    @property
    def spent(self) -> float:
        """The used part of the budget, 0..1."""
        return min(self.seconds / (60 * float(self.args.minutes)), 1.0)

    def rate(self) -> float:
        """Warm up over 100 steps, then a cosine down to 2 % of the peak."""
        decayed = 0.02 + 0.98 * (1 + math.cos(math.pi * self.spent)) / 2
        return float(self.args.rate * min((self.step + 1) / 100, 1.0) * decayed)

    def advance(self, pair: Any) -> None:
        """Take one optimiser step and fold it into the average."""
        clean, shown, said = self.data.batch(self.args.batch)
        ids = told(self.tokenizer, said).to(self.device)
        loss = flow_loss(pair, clean.to(self.device), shown.to(self.device), ids)
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

    def run(self) -> None:
        """Train until the budget is spent or a file named `stop` appears in the output folder."""
        pair = torch.compile(self.pair) if self.args.compile else self.pair
        stop = self.args.out / "stop"
        saved = logged = started = time.monotonic()
        leave = 60 * self.args.leave or math.inf
        while self.spent < 1 and not stop.exists() and time.monotonic() < started + leave:
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
            if now - saved > 120:
                self.save()
                saved = now
        self.save()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument("--data", type=Path, required=True, help="rendered drawings (.npz)")
    parser.add_argument("--minutes", type=float, default=45, help="time budget of the schedule")
    parser.add_argument("--leave", type=float, default=0, help="minutes after which to come back")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.2e-3, help="peak learning rate")
    parser.add_argument("--ema", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--gpu", action="store_true", help="settings of one GPU")
    parser.add_argument("--export", type=Path, help="write the averaged weights here and stop")
    args = parser.parse_args()
    if args.gpu:
        vars(args).update(GPU)
    return args


def main() -> None:
    """Train, or export what was trained."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    if args.export:
        pair = trainer.average
        export(pair.network, pair.encoder, trainer.tokenizer, args.export)
        told_last = f"step {trainer.step}, data {trainer.data.hash}, seed {args.seed}"
        print(f"{told_last} → {args.export}")  # noqa: T201
    else:
        trainer.run()


if __name__ == "__main__":
    main()
