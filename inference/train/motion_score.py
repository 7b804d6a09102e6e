"""Score `kinora/glyph-motion`: is the asked motion recognised in the frames, and a sheet of strips.

A clip is compared, frame by frame, with its own first frame put through every motion at every pace,
side and three strengths, and with the first frame at rest; the nearest clip says what is seen.
Knows the model by its prompts and frames only.

    python -m inference.train.motion_score --data var/train/glyphs.npz --sheet strips.webp
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from inference import media
from inference.models.contract import walk
from inference.models.glyph_motion import GlyphMotion, framed
from inference.models.motion_field import BETWEEN, ink, moved
from inference.train.glyphs import Glyph as Drawing
from inference.train.glyphs import load, over_white
from inference.train.motions import VERBS, Box, Motion, field
from inference.wire import WEIGHTS, describe

PROMPTS = 200
DRAWINGS = (  # those that the card names
    "red heart", "green heart", "brown heart", "broken heart", "two hearts",
    "grinning face with sweat", "winking face", "smiling face with heart-eyes", "zany face",
    "neutral face", "face with medical mask", "exploding head", "nerd face", "pleading face",
    "yawning face", "skull", "robot", "dog face", "cat face", "unicorn", "hamster", "koala",
    "penguin", "snake", "shark", "honeybee", "parrot", "rose", "seedling", "cactus", "grapes",
    "banana", "green apple", "strawberry", "coconut", "carrot", "cucumber", "bread",
    "cheese wedge", "hot dog", "cookie", "ice cream", "sun", "ringed planet", "umbrella", "fire",
    "balloon", "tennis", "crown", "drum",
)  # fmt: skip
SIDE, SEEN = 64, 32  # pixels: of the clips, and of what is compared
SAID = ("slowly ", "", "fast ")
STRIP, TILE, COLUMNS = 6, 40, 4  # frames of a strip, pixels of a frame, strips side by side


@dataclass(frozen=True)
class Wish:
    """One fixed prompt.  drawing: what is moved, or drawn first where `drawn` is set."""

    drawing: Drawing
    kind: str
    pace: int

    @property
    def prompt(self) -> str:
        """Say it in words."""
        verb = VERBS[self.kind].split()[1]
        return f"{self.drawing.words[0]} {SAID[self.pace]}{verb}"


def wishes(drawings: list[Drawing], count: int = PROMPTS) -> list[Wish]:
    """Fix the prompts: every motion at every pace in turn, over the drawings of the card."""
    kinds = itertools.product(range(3), VERBS)
    turns = itertools.cycle([(kind, pace) for pace, kind in kinds])
    return [Wish(drawings[place * 7 % len(drawings)], *next(turns)) for place in range(count)]


def subset(drawings: list[Drawing]) -> list[Drawing]:
    """Find the card's drawings among all."""
    found = {one.name: one for one in drawings}
    return [found[name] for name in DRAWINGS]


def filmed(model: GlyphMotion, wish: Wish, seed: int, *, given: bool) -> Tensor:
    """Make the clip of one prompt.  → (T, SIDE, SIDE, 3) uint8."""
    rules = describe("glyph-motion")["inputs"]["properties"]
    inputs: dict[str, Any] = {"seconds": 1, "count": 1, "size": f"{SIDE}x{SIDE}", "seed": seed}
    inputs |= {name: rules[name]["default"] for name in ("steps", "guidance")}
    inputs["prompt"] = wish.prompt
    if given:
        plain = Image.fromarray(over_white(wish.drawing.pixels))
        content = base64.b64encode(media.png(framed(plain, SIDE, SIDE))).decode()
        inputs["image"] = f"data:image/png;base64,{content}"
    work = model.prepare(inputs)
    for _ in walk(model.denoise(work)):
        pass
    return model.decode(work)[0].frames


def candidates() -> list[Motion]:
    """List every motion that a clip may be nearest to."""
    sides, strengths = (-1, 1), (0.0, 0.5, 1.0)
    return [Motion(*one) for one in itertools.product(VERBS, range(3), sides, strengths)]


def recognised(frames: Tensor) -> Motion | None:
    """Tell which motion of the first frame is nearest to a clip; None is rest.

    frames: (T, H, W, 3) uint8.
    """
    clip = frames[::BETWEEN].permute(0, 3, 1, 2).float() / 127.5 - 1
    first = functional.interpolate(clip[:1], size=(SEEN, SEEN), mode="area")[0]
    clip = functional.interpolate(clip, size=(SEEN, SEEN), mode="area")
    box, known = Box.of(ink(first)), candidates()
    fields = torch.stack([field(motion, box, len(clip)) for motion in known])
    made = moved(first, fields.flatten(0, 1)).unflatten(0, (len(known), len(clip)))
    distance = (made - clip).square().mean((1, 2, 3, 4))
    rest = (first - clip).square().mean()
    best = int(distance.argmin())
    return None if rest < distance[best] else known[best]


def score(model: GlyphMotion, asked: list[Wish], seed: int, *, given: bool) -> dict[str, Any]:
    """Count what is recognised, per motion too, and keep the frames for the sheet."""
    seen: list[Motion | None] = []
    films = []
    for place, wish in enumerate(asked):
        films.append(filmed(model, wish, seed + place, given=given))
        seen.append(recognised(films[-1]))
    pairs = list(zip(asked, seen, strict=True))
    right = [(wish, found) for wish, found in pairs if found and found.kind == wish.kind]
    total, hit = Counter(wish.kind for wish in asked), Counter(wish.kind for wish, _ in right)
    paced = [wish.pace == found.pace for wish, found in right]
    return {
        "first_frame": "given" if given else "drawn",
        "prompts": len(asked),
        "recognised": round(len(right) / len(asked), 3),
        "pace_of_those": round(sum(paced) / max(len(paced), 1), 3),
        "by_motion": {kind: round(hit[kind] / count, 2) for kind, count in total.items()},
        "films": films,
    }


def sheet(asked: list[Wish], films: list[Tensor], path: Path) -> None:
    """Lay out a strip of frames per prompt, with its words underneath."""
    wide, high = STRIP * TILE + 12, TILE + 14
    rows = -(-len(asked) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * wide, rows * high), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(10)
    for place, (wish, frames) in enumerate(zip(asked, films, strict=True)):
        left, top = place % COLUMNS * wide + 6, place // COLUMNS * high
        for at, index in enumerate(np.linspace(0, len(frames) - BETWEEN, STRIP).round()):
            frame = Image.fromarray(frames[int(index)].numpy())
            small = frame.resize((TILE, TILE), Image.Resampling.LANCZOS)
            whole.paste(small, (left + at * TILE, top))
        pen.text((left + 2, top + TILE + 1), wish.prompt, "#444", font)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, quality=80, method=6)


def main() -> None:
    """Print the scores as JSON, and write the sheet if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="rendered drawings (.npz)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "glyph-motion")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--drawn", action="store_true", help="kinora/glyph draws the first frames")
    parser.add_argument("--sheet", type=Path, help="also lay all clips out in this WebP")
    parser.add_argument("--motion", action="store_true", help="as `evaluate` is told to come here")
    args = parser.parse_args()
    torch.set_num_threads(1)  # small calls wait for one another longer than they work
    asked = wishes(subset(load(args.data)), args.prompts)
    found = score(GlyphMotion.load(args.weights, "cpu"), asked, args.seed, given=not args.drawn)
    films = found.pop("films")
    print(json.dumps(found))  # noqa: T201
    if args.sheet:
        sheet(asked, films, args.sheet)


if __name__ == "__main__":
    main()
