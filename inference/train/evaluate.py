"""Score shipped weights: is what was drawn nearest to what was asked for, in the asked colour?

    python -m inference.train.evaluate --data var/train/glyphs.npz --grid docs/images/glyph-grid.png

Each taught drawing is asked for by name with the served weights and defaults. The picture is
compared with every taught drawing, by L2 over a 16 x 16 blur; a hit has the asked one in the
nearest five. Colours: a colour word before a noun; a hit is nearer to the drawing in the asked
colour than to itself in any other, and so told apart for pairs that training never showed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from inference import devices
from inference.models.contract import walk
from inference.models.glyph import LEAST_T, SIDE, WIDE, Glyph, encode, predict, tokens_of
from inference.train import motion_score
from inference.train.captions import BESIDE
from inference.train.glyphs import Glyph as Drawing
from inference.train.glyphs import load
from inference.train.scenes import Paint, Scenes, held_out, over_white
from inference.train.words import COLOURS
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
COLOURED = 200
MORE = (
    "small red heart", "tiny fox", "little blue car", "big banana", "a puppy", "a cute bunny",
    "donut", "aubergine", "kitten", "smiley", "coffee", "bike", "plane", "dinosaur", "animal",
    "a fruit", "a happy face", "tree above house", "sun over cloud", "dog under rainbow",
)  # fmt: skip


def blur(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average blocks of pixels.  (G, S, S, 3) → (G, 16*16*3)."""
    block = images.shape[1] // 16
    parts = images.reshape(len(images), 16, block, 16, block, 3)
    less: NDArray[np.float32] = parts.mean((2, 4), dtype=np.float32)  # (G, 16, 16, 3)
    return less.reshape(len(images), -1)


def draw(model: Glyph, prompts: Sequence[str], seed: int, side: int = SIDE) -> list[Image.Image]:
    """Draw prompts with the default inputs, with one seed each, in one batch.

    The loop of `Glyph.denoise`, but for many prompts at once: what a customer gets, up to rounding.
    """
    rules = describe("glyph")["inputs"]["properties"]
    steps, guidance = rules["steps"]["default"], rules["guidance"]["default"]
    ids, mask = tokens_of(model.tokenizer, [""] * len(prompts) + list(prompts))
    model.scheduler.set_timesteps(steps)
    times = model.scheduler.sigmas.tolist()
    latents = torch.cat([model.noise(seed + index, side) for index in range(len(prompts))])
    with torch.inference_mode():
        states, pooled = encode(model.encoder, ids, mask)  # (2B, 16, D), (2B, D)
        for now, after in pairwise(times):
            at = torch.full((2 * len(prompts),), now)
            both = predict(model.network, latents.repeat(2, 1, 1), at, states, pooled)
            without, given = both.chunk(2)
            clean = without + guidance * (given - without)
            latents = latents + (after - now) * (latents - clean) / max(now, LEAST_T)
    return model.images([latents])


def draw_all(
    model: Glyph, prompts: Sequence[str], seed: int, side: int = SIDE
) -> list[Image.Image]:
    """Draw any number of prompts, some at a time."""
    starts = range(0, len(prompts), BATCH)
    parts = [draw(model, prompts[start : start + BATCH], seed + start, side) for start in starts]
    return [image for part in parts for image in part]


def known(scenes: Scenes) -> NDArray[np.float32]:
    """Blur every drawing, then every repainted one, as the scenes number them.  (R, 768)."""
    levels = (over_white(scenes.pictures[SIDE]) + 1) * 127.5  # (R, 3, S, S)
    return blur(levels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


def ranks(model: Glyph, scenes: Scenes, seed: int, side: int = SIDE) -> dict[str, int]:
    """Give each drawing's place (0 is nearest) among all, when it is asked for by name."""
    drawings: list[Drawing] = scenes.glyphs
    taught = known(scenes)[: len(drawings)]  # (G, 768)
    drawn = draw_all(model, [drawing.words[0] for drawing in drawings], seed, side)
    found = {}
    for index, image in enumerate(drawn):
        distance = np.square(taught - blur(np.asarray(image)[None])).sum(1)  # (G,)
        found[drawings[index].name] = int((distance < distance[index]).sum())
    return found


def asked_colours(scenes: Scenes, seed: int) -> list[Paint]:
    """Choose colour prompts, half of them pairs that training never showed."""
    source = random.Random(seed)  # noqa: S311
    hidden = [paint for paint in scenes.paints if held_out(paint.said)]
    half = min(COLOURED // 2, len(hidden))
    return source.sample(hidden, half) + source.sample(scenes.shown, COLOURED - half)


def coloured(model: Glyph, scenes: Scenes, seed: int) -> dict[str, list[bool]]:
    """Say of each colour prompt whether its colour was the nearest one of its drawing."""
    taught, asked = known(scenes), asked_colours(scenes, seed)
    drawn = draw_all(model, [paint.said for paint in asked], seed)
    found: dict[str, list[bool]] = {"never shown": [], "shown": []}
    for paint, image in zip(asked, drawn, strict=True):
        rows = [paint.glyph] + [one.row for one in scenes.paints if one.glyph == paint.glyph]
        distance = np.square(taught[rows] - blur(np.asarray(image)[None])).sum(1)
        hit = rows[int(distance.argmin())] == paint.row
        found["never shown" if held_out(paint.said) else "shown"].append(hit)
    return found


def steady(model: Glyph, folder: Path, seed: int) -> bool:
    """Say whether pictures are bit-equal alone, among others, and after another load."""
    again = Glyph.load(folder, "cpu")

    def served(one: Glyph, first: int, count: int) -> list[bytes]:
        inputs = {"prompt": "red heart", "size": SIDE, "steps": 8, "guidance": 3, "count": count}
        work = one.prepare(inputs | {"seed": first})
        for _ in walk(one.denoise(work)):
            pass
        return [image.tobytes() for image in one.decode(work)]

    alone = [served(model, seed + index, 1)[0] for index in range(3)]
    return served(model, seed, 3) == alone == served(again, seed, 3)


def prompts_of(scenes: Scenes) -> list[str]:
    """Name 200 prompts by a fixed draw: 100 drawings, 50 colours, 30 pairs, and 20 by hand."""
    source = random.Random(200)  # noqa: S311
    plain = [drawing.words[0] for drawing in source.sample(scenes.glyphs, 100)]
    colours = [paint.said for paint in source.sample(scenes.paints, 50)]
    names = [source.choice(plain + colours) for _ in range(60)]
    pairs = [BESIDE[0].format(*two) for two in zip(names[::2], names[1::2], strict=True)]
    return [*plain, *colours, *pairs, *MORE]


def grid(
    model: Glyph, prompts: Sequence[str], path: Path, seed: int, tile: int = 96, columns: int = 8
) -> None:
    """Draw prompts with their words underneath."""
    rows, letters = -(-len(prompts) // columns), tile // 5 + 1
    sheet = Image.new("RGB", (columns * (tile + 16), rows * (tile + 30)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    drawn = draw_all(model, prompts, seed)
    for index, (prompt, image) in enumerate(zip(prompts, drawn, strict=True)):
        left, top = index % columns * (tile + 16) + 8, index // columns * (tile + 30) + 6
        sheet.paste(image.resize((tile, tile), Image.Resampling.LANCZOS), (left, top))
        words = prompt if len(prompt) <= letters else prompt[: letters - 1] + "…"
        pen.text((left + tile // 2, top + tile + 10), words, "#444", font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".webp":
        sheet.save(path, quality=82, method=6)
    else:
        sheet.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def say(**found: object) -> None:
    """Print one line of the scores."""
    print(json.dumps(found), flush=True)  # noqa: T201


def score(model: Glyph, scenes: Scenes, args: argparse.Namespace) -> None:
    """Print what `ranks`, `coloured` and `steady` find."""
    say(steady=steady(model, args.weights, args.seed))
    for side in args.sides:
        found = ranks(model, scenes, args.seed, side)
        top = {n: round(sum(rank < n for rank in found.values()) / len(found), 3) for n in (1, 5)}
        missed = [name for name, rank in found.items() if rank >= NEAREST]
        say(side=side, prompts=len(found), top1=top[1], top5=top[5], missed=missed)
    for part, hits in coloured(model, scenes, args.seed).items():
        say(colours=part, of=len(COLOURS), prompts=len(hits), right=round(sum(hits) / len(hits), 3))


def main() -> None:
    """Print the scores as JSON, and draw the grids that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="rendered drawings (.npz)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "glyph")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-score", action="store_true", help="draw only")
    parser.add_argument("--sides", type=int, nargs="*", default=[SIDE], help="to name drawings at")
    parser.add_argument("--grid", type=Path, help="also draw the shown prompts into this file")
    parser.add_argument("--sheet", type=Path, help="also draw 200 prompts, whatever comes")
    args = parser.parse_args()
    devices.settle("cpu")
    torch.manual_seed(0)
    model, scenes = Glyph.load(args.weights, "cpu"), Scenes(load(args.data, WIDE), (SIDE,), 0)
    if args.grid:
        grid(model, SHOWN, args.grid, args.seed)
    if args.sheet:
        grid(model, prompts_of(scenes), args.sheet, args.seed, tile=64, columns=16)
    if not args.no_score:
        score(model, scenes, args)


if __name__ == "__main__":
    motion_score.main() if "--motion" in sys.argv else main()
