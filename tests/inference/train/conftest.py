"""Three plain drawings, for no font may be here."""

from __future__ import annotations

import numpy as np
import pytest

from inference.train.glyphs import Glyph
from inference.train.words import GROUPS

SIDE = 64


def square(name: str, words: tuple[str, ...], rgb: tuple[int, int, int], edge: int) -> Glyph:
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[edge:-edge, edge:-edge] = (*rgb, 255)
    return Glyph(name, words, pixels)


@pytest.fixture(scope="session")
def drawings() -> list[Glyph]:
    firsts = dict.fromkeys(names[0] for names in GROUPS.values())  # each group needs a member
    return [
        square("red apple", ("red apple", "apple"), (220, 40, 40), 8),
        square("star", ("star", "yellow star"), (250, 200, 40), 16),
        square("cloud", ("cloud",), (200, 210, 220), 20),
        *(square(name, (name,), (90, 90, 90), 4) for name in firsts),
    ]
