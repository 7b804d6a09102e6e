"""Pictures to learn from: a drawing as it is, repainted, resized, or two of them, with captions.

Everything follows from a seed and a step's number, so that a resumed training sees what an
unbroken one would have seen, whichever process lays out a batch.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from inference.train.captions import ABOVE, BELOW, BESIDE, SIZES, grouped, name_of, phrase
from inference.train.glyphs import Glyph, recolour
from inference.train.words import COLOURS, GROUPS, REPAINTED

HELD_OUT = 8  # one in so many pairs of colour and noun is never shown, to be asked for later
EMPTY = 0.1  # captions left out, which is what guidance needs
PAINTED, PAIRS, SIZED, GROUPED = 0.27, 0.15, 0.08, 0.05  # parts of all scenes; the rest is plain


def held_out(said: str) -> bool:
    """Say whether this colour is kept from this noun in training."""
    return zlib.crc32(said.encode()) % HELD_OUT == 0


@dataclass(frozen=True)
class Paint:
    """One drawing in another colour: its row among the pictures, its words, its parts."""

    row: int
    said: str
    glyph: int
    colour: str


def noun_of(glyph: Glyph) -> str | None:
    """The noun that a colour word is put before, None where the drawing is not repainted."""
    return (REPAINTED[glyph.name] or glyph.words[0]) if glyph.name in REPAINTED else None


def own(glyph: Glyph, colour: str) -> bool:
    """Say whether the drawing is called by that colour as it is."""
    return any(colour in said.split() for said in (glyph.name, *glyph.words))


class Scenes:
    """All drawings as tensors, at every side that is trained, and how scenes are made of them."""

    def __init__(self, glyphs: list[Glyph], sides: tuple[int, ...], seed: int) -> None:
        """Repaint what may be repainted, and scale it all to each side."""
        self.glyphs, self.seed = glyphs, seed
        stack = [glyph.pixels for glyph in glyphs]
        self.paints: list[Paint] = []
        for index, glyph in enumerate(glyphs):
            if noun := noun_of(glyph):
                for colour in [one for one in COLOURS if not own(glyph, one)]:
                    self.paints.append(Paint(len(stack), f"{colour} {noun}", index, colour))
                    stack.append(recolour(glyph.pixels, COLOURS[colour]))
        stored = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2)  # (R, 4, 96, 96)
        parts = {1.0, 0.5, *SIZES.values()}
        self.pictures = {at: scaled(stored, at) for at in inner_sides(sides, parts)}
        self.shown = [paint for paint in self.paints if not held_out(paint.said)]
        self.groups = {
            word: [index for index, glyph in enumerate(glyphs) if glyph.name in names]
            for word, names in GROUPS.items()
        }

    def batch(self, step: int, count: int, side: int) -> tuple[Tensor, list[str]]:
        """Lay out the scenes of one step.  → (B, 3, side, side) in -1..1 and their captions."""
        source = random.Random(f"{self.seed}:{step}")  # noqa: S311
        made = [self.scene(side, source) for _ in range(count)]
        said = ["" if source.random() < EMPTY else caption for _, caption in made]
        return over_white(torch.stack([picture for picture, _ in made])), said

    def scene(self, side: int, source: random.Random) -> tuple[Tensor, str]:
        """Make one scene.  → premultiplied (4, side, side) uint8 and its caption."""
        kind = source.random()
        if kind < PAIRS:
            return self.pair(side, source)
        if kind < PAIRS + GROUPED:
            word = source.choice(list(self.groups))
            row = source.choice(self.groups[word])
            caption = grouped(name_of(self.glyphs[row], source), word, source)
            return moved(self.pictures[side][row], source), caption
        row, name = self.one(source, PAINTED / (1 - PAIRS - GROUPED))
        picture = self.pictures[side][row]
        if kind < PAIRS + GROUPED + SIZED:
            size = source.choice(list(SIZES))
            less = self.pictures[inner(side, SIZES[size])][row]
            return framed(less, side), phrase(f"{size} {name}", source)
        return moved(picture, source), phrase(name, source)

    def one(self, source: random.Random, painted: float) -> tuple[int, str]:
        """Pick a drawing, repainted with the given chance.  → its row, its words."""
        if source.random() < painted:
            paint = source.choice(self.shown)
            return paint.row, paint.said
        row = source.randrange(len(self.glyphs))
        return row, name_of(self.glyphs[row], source)

    def pair(self, side: int, source: random.Random) -> tuple[Tensor, str]:
        """Put two drawings side by side, or one above the other."""
        (first, name), (second, other) = self.one(source, 0.4), self.one(source, 0.4)
        one, two = self.pictures[side // 2][first], self.pictures[side // 2][second]
        way = source.random()
        if way < 0.7:
            return beside(one, two, side), source.choice(BESIDE).format(name, other)
        said = ABOVE if way < 0.85 else BELOW
        top, bottom = (one, two) if said is ABOVE else (two, one)
        return above(top, bottom, side), source.choice(said).format(name, other)


def scaled(stored: Tensor, side: int) -> Tensor:
    """Scale pictures to a side.  (R, 4, S, S) uint8 → (R, 4, side, side) uint8."""
    if stored.shape[-1] == side:
        return stored.contiguous()
    parts = [
        interpolate(part.float(), (side, side), mode="bicubic", antialias=True, align_corners=False)
        for part in stored.split(256)
    ]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])


def over_white(pictures: Tensor) -> Tensor:
    """Lay premultiplied pictures over white.  (B, 4, S, S) uint8 → (B, 3, S, S) in -1..1."""
    colour, alpha = pictures[:, :3].float(), pictures[:, 3:].float()
    return ((colour + 255 - alpha) / 127.5 - 1).clamp(-1, 1)


def moved(picture: Tensor, source: random.Random) -> Tensor:
    """Shift half of the pictures by up to their margin, one in 32 of the side."""
    if source.random() < 0.5:
        return picture
    most = picture.shape[-1] // 32
    return picture.roll((source.randint(-most, most), source.randint(-most, most)), (1, 2))


def inner(side: int, part: float) -> int:
    """The even side of a drawing that takes up a part of its picture's side."""
    return round(side * part / 2) * 2


def inner_sides(sides: tuple[int, ...], parts: set[float]) -> set[int]:
    """Every side at which a drawing is needed."""
    return {inner(side, part) for side in sides for part in parts}


def framed(drawing: Tensor, side: int) -> Tensor:
    """Lay a drawing into the middle of an empty picture.  (4, s, s) → (4, side, side)."""
    if drawing.shape[-1] == side:
        return drawing
    whole = torch.zeros(4, side, side, dtype=torch.uint8)
    edge = (side - drawing.shape[-1]) // 2
    whole[:, edge : side - edge, edge : side - edge] = drawing
    return whole


def beside(left: Tensor, right: Tensor, side: int) -> Tensor:
    """Lay two halves into a picture, at half height.  → (4, side, side)."""
    whole, half, top = torch.zeros(4, side, side, dtype=torch.uint8), side // 2, side // 4
    whole[:, top : top + half, :half], whole[:, top : top + half, half:] = left, right
    return whole


def above(top: Tensor, bottom: Tensor, side: int) -> Tensor:
    """Lay two halves into a picture, one over the other.  → (4, side, side)."""
    return beside(top.mT, bottom.mT, side).mT
