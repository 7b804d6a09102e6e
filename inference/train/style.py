"""Train a style as a low-rank adapter of `kinora/glyph`: the words stay, the drawing changes.

    python -m inference.train.style outline --data var/train/glyphs.npz --minutes 4

Keys and shapes are those of diffusers (`transformer.<layer>.lora_A.weight`), in bfloat16.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import linear, max_pool2d

from inference.models.glyph import SIDE, WIDE, Glyph, encode, patches, predict, spread, tokens_of
from inference.train.glyph import steady, times_of
from inference.train.glyphs import load
from inference.train.scenes import Scenes
from inference.wire import WEIGHTS

RANK = 4
ENDINGS = ("to_q", "to_k", "to_v", "to_out.0", "proj_mlp", "proj_out", "x_embedder")


class Low(nn.Module):
    """A frozen linear layer and the two small matrices that are learned beside it."""

    def __init__(self, layer: nn.Linear) -> None:
        """Begin without effect: the second matrix is zero."""
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(RANK, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, RANK))

    def forward(self, given: Tensor) -> Tensor:
        """Apply both.  (…, in) → (…, out)."""
        out: Tensor = self.layer(given)
        return out + linear(linear(given, self.down), self.up)


def widened(network: nn.Module) -> dict[str, Low]:
    """Put small matrices beside every layer that a style may bend.  → by the layers' names."""
    chosen = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and name.endswith(ENDINGS)
    ]
    made: dict[str, Low] = {}
    for name in chosen:
        made[name] = Low(network.get_submodule(name))  # type: ignore[arg-type]
        network.set_submodule(name, made[name])
    return made


def outline(images: Tensor) -> Tensor:
    """Keep the dark lines between colours, on white.  (B, 3, S, S) in -1..1, both."""
    edges = max_pool2d(images, 3, 1, 1) + max_pool2d(-images, 3, 1, 1)  # the range around a pixel
    strength = edges.amax(1, keepdim=True).sub(0.25).mul(1.4).clamp(0, 1)
    return (1 - 1.9 * strength).expand_as(images)


def pastel(images: Tensor) -> Tensor:
    """Mix with light grey and white, on a ground of cream.  (B, 3, S, S) in -1..1, both."""
    grey = images.mean(1, keepdim=True)
    soft = 0.45 * (0.8 * images + 0.2 * grey) + 0.5
    ground = torch.tensor([0.98, 0.93, 0.82]).view(1, 3, 1, 1)
    white = (images.amin(1, keepdim=True) - 0.85).clamp_min(0) / 0.15
    return soft * (1 - white) + ground * white


STYLES = {"outline": outline, "pastel": pastel}


def taught(model: Glyph, layers: dict[str, Low], scenes: Scenes, args: argparse.Namespace) -> int:
    """Learn for the given minutes, the rate falling with the clock.  → steps."""
    weights = [weight for low in layers.values() for weight in (low.down, low.up)]
    optimiser = torch.optim.AdamW(weights, lr=args.rate, betas=(0.9, 0.95), weight_decay=0.0)
    began, step = time.monotonic(), 0
    while (spent := (time.monotonic() - began) / (60 * args.minutes)) < 1:
        pictures, said = scenes.batch(step, args.batch, SIDE)
        loss = loss_of(model, STYLES[args.style](pictures), said)
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min((step + 1) / 20, 1) * (1 + math.cos(math.pi * spent)) / 2
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 20 == 0:
            print(f"step {step} spent {spent:.2f} loss {loss.item():.4f}", flush=True)  # noqa: T201
        step += 1
    return step


def loss_of(model: Glyph, images: Tensor, said: list[str]) -> Tensor:
    """Weigh the x0 error as a velocity error, as the weights themselves were taught."""
    clean = patches(images, model.patch)  # (B, N, C)
    ids, mask = tokens_of(model.tokenizer, said)
    with torch.no_grad():
        states, pooled = encode(model.encoder, ids, mask)
    t = times_of(len(said))
    at = t[:, None, None]
    noisy = (1 - at) * clean + at * spread(SIDE) * torch.randn_like(clean)
    with steady("cpu"):
        estimate = predict(model.network, noisy, t, states, pooled)
    return ((estimate.float() - clean) / at.clamp_min(0.05)).square().mean()


def stored(layers: dict[str, Low], path: Path) -> None:
    """Write the adapter."""
    tensors: dict[str, Any] = {}
    for name, low in layers.items():
        tensors[f"transformer.{name}.lora_A.weight"] = low.down.detach().bfloat16().contiguous()
        tensors[f"transformer.{name}.lora_B.weight"] = low.up.detach().bfloat16().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def main() -> None:
    """Train one style and write it beside the weights."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("style", choices=STYLES)
    parser.add_argument("--data", type=Path, required=True, help="rendered drawings (.npz)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "glyph")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    model = Glyph.load(args.weights, "cpu")
    for weight in (*model.network.parameters(), *model.encoder.parameters()):
        weight.requires_grad_(False)
    layers = widened(model.network)
    steps = taught(model, layers, Scenes(load(args.data, WIDE), (SIDE,), args.seed), args)
    path = args.weights / "loras" / f"{args.style}.safetensors"
    stored(layers, path)
    print(f"{args.style}: {steps} steps of {args.batch} → {path}")  # noqa: T201


if __name__ == "__main__":
    main()
