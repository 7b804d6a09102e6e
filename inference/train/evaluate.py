"""Score shipped weights: is what was drawn nearest to what was asked for?

    python -m inference.train.evaluate --data var/train/glyphs.npz --grid docs/images/glyph-grid.png

Each taught drawing is asked for by name with the served weights and defaults. The picture is
compared with every taught drawing, by L2 over a 16 x 16 blur; a hit has the asked one in the
nearest five.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from inference import devices
from inference.models.glyph import LEAST_T, Glyph, encode, predict, tokens_of
from inference.train import motion_score
from inference.train.glyphs import Glyph as Drawing
from inference.train.glyphs import load, over_white
from inference.train.words import CHOSEN
from inference.wire import WEIGHTS, describe

SHOWN = (
    "red heart", "tomato", "loudly crying face", "grinning face", "thinking face", "sleeping face",
    "angry face", "smiling face with heart-eyes", "blue heart", "green heart", "broken heart",
    "banana", "strawberry", "watermelon", "carrot", "pizza", "hamburger", "birthday cake",
    "dog face", "cat face", "tiger", "panda", "frog", "penguin", "fox", "octopus", "butterfly",
    "sunflower", "rose", "mushroom", "cactus", "Christmas tree", "crescent moon", "sun with face",
    "yellow star", "rainbow", "snowman", "fire", "rocket", "red car", "robot", "ghost", "guitar",
    "soccer ball", "crown", "blue apple", "green cat", "purple balloon",
)  # fmt: skip
NEAREST = 5
BATCH = 16


def blur(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average pairs of pixels.  (G, 32, 32, 3) → (G, 16*16*3)."""
    fours = images.reshape(-1, 16, 2, 16, 2, 3)
    halved: NDArray[np.float32] = fours.mean((2, 4), dtype=np.float32)  # (G, 16, 16, 3)
    return halved.reshape(len(images), -1)


def draw(model: Glyph, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """Draw prompts with the default inputs at 32 pixels, with one seed each, in one batch.

    The loop of `Glyph.denoise`, but for many prompts at once: what a customer gets, up to rounding.
    """
    rules = describe("glyph")["inputs"]["properties"]
    steps, guidance = rules["steps"]["default"], rules["guidance"]["default"]
    ids, mask = tokens_of(model.tokenizer, [""] * len(prompts) + list(prompts))
    model.scheduler.set_timesteps(steps)
    times = model.scheduler.sigmas.tolist()
    latents = torch.cat([model.noise(seed + index) for index in range(len(prompts))])  # (B, 64, 48)
    with torch.inference_mode():
        states, pooled = encode(model.encoder, ids, mask)  # (2B, 16, D), (2B, D)
        for now, after in pairwise(times):
            at = torch.full((2 * len(prompts),), now)
            both = predict(model.network, latents.repeat(2, 1, 1), at, states, pooled)
            without, given = both.chunk(2)
            clean = without + guidance * (given - without)
            latents = latents + (after - now) * (latents - clean) / max(now, LEAST_T)
    return model.images([latents])


def draw_all(model: Glyph, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """Draw any number of prompts, some at a time."""
    starts = range(0, len(prompts), BATCH)
    parts = [draw(model, prompts[start : start + BATCH], seed + start) for start in starts]
    return [image for part in parts for image in part]


def ranks(model: Glyph, drawings: list[Drawing], seed: int) -> dict[str, int]:
    """Give each drawing's place (0 is nearest) among all, when it is asked for by name."""
    known = blur(np.stack([over_white(drawing.pixels) for drawing in drawings]))  # (G, 768)
    drawn = draw_all(model, [drawing.words[0] for drawing in drawings], seed)
    found = {}
    for index, image in enumerate(drawn):
        distance = np.square(known - blur(np.asarray(image)[None])).sum(1)  # (G,)
        found[drawings[index].name] = int((distance < distance[index]).sum())
    return found


def grid(model: Glyph, path: Path, seed: int, tile: int = 96, columns: int = 8) -> None:
    """Draw the shown prompts with their words underneath."""
    rows = -(-len(SHOWN) // columns)
    sheet = Image.new("RGB", (columns * (tile + 16), rows * (tile + 30)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    drawn = draw_all(model, SHOWN, seed)
    for index, (prompt, image) in enumerate(zip(SHOWN, drawn, strict=True)):
        left, top = index % columns * (tile + 16) + 8, index // columns * (tile + 30) + 6
        sheet.paste(image.resize((tile, tile), Image.Resampling.LANCZOS), (left, top))
        words = prompt if len(prompt) <= 20 else prompt[:19] + "…"
        pen.text((left + tile // 2, top + tile + 10), words, "#444", font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Print the scores as JSON, and write the grid if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="rendered drawings (.npz)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "glyph")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-score", action="store_true", help="draw the grid only")
    parser.add_argument("--grid", type=Path, help="also draw the shown prompts into this PNG")
    args = parser.parse_args()
    devices.settle("cpu")
    torch.manual_seed(0)
    model = Glyph.load(args.weights, "cpu")
    if args.grid:
        grid(model, args.grid, args.seed)
    found = {} if args.no_score else ranks(model, load(args.data), args.seed)
    parts: dict[str, list[int]] = {"plain": [], "recoloured": []}
    for name, rank in found.items():
        parts["plain" if name in CHOSEN else "recoloured"].append(rank)
    for part, got in parts.items():
        top = {
            f"top{n}": round(sum(rank < n for rank in got) / max(len(got), 1), 3) for n in (1, 5)
        }
        print(json.dumps({"drawings": part, "prompts": len(got), **top}))  # noqa: T201
    missed = [name for name, rank in found.items() if rank >= NEAREST]
    print("missed:", ", ".join(missed))  # noqa: T201


if __name__ == "__main__":
    motion_score.main() if "--motion" in sys.argv else main()
