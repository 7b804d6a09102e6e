"""Training data of `kinora/glyph`: emoji rendered from Noto Color Emoji, with captions.

Reads two Debian packages, `fonts-noto-color-emoji` (OFL 1.1) and `unicode-data`, and keeps what it
rendered in one `.npz`. Knows nothing of models; needs Pillow with raqm and numpy only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from inference.train.synonyms import EXTRA, PLAIN
from inference.train.words import CHOSEN

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")
STRIKE = 109  # the font's only bitmap size, in pixels
STORED = 32  # pixels kept per side unless more are asked for, one in 32 of them a margin
LINE = re.compile(r"^([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E\S+ (.+)$")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Glyph:
    """One drawing: its Unicode name, the words that may stand for it, its RGBA pixels."""

    name: str
    words: tuple[str, ...]
    pixels: Pixels  # (side, side, 4)


def read_names(path: Path = NAMES) -> dict[str, str]:
    """Map the CLDR name of each fully-qualified emoji to its characters."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := LINE.match(line):
            found[match[2].strip()] = "".join(chr(int(code, 16)) for code in match[1].split())
    return found


def draw(text: str, side: int) -> Pixels:
    """Render one emoji, trimmed, centred and scaled into a transparent square."""
    font = ImageFont.truetype(str(FONT), STRIKE)
    canvas = Image.new("RGBA", (160, 160), (255, 255, 255, 0))
    ImageDraw.Draw(canvas).text((12, 12), text, font=font, embedded_color=True)
    trimmed = canvas.crop(canvas.getbbox())
    square = Image.new("RGBA", (max(trimmed.size),) * 2, (255, 255, 255, 0))
    across, down = ((square.width - edge) // 2 for edge in trimmed.size)
    square.paste(trimmed, (across, down))
    margin = side // 32
    inner = side - 2 * margin
    scaled = square.resize((inner, inner), Image.Resampling.BOX)
    framed = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    framed.paste(scaled, (margin, margin))
    return premultiplied(np.asarray(framed))


def premultiplied(pixels: Pixels) -> Pixels:
    """Multiply colour by opacity, so that no hidden colour shows."""
    alpha = pixels[..., 3:]
    return np.concatenate([(pixels[..., :3] * (alpha / 255.0)).round().astype(np.uint8), alpha], -1)


def over_white(pixels: Pixels) -> Pixels:
    """Lay premultiplied RGBA over white.  (..., 4) uint8 → (..., 3) uint8."""
    return pixels[..., :3] + (255 - pixels[..., 3:])


def recolour(pixels: Pixels, rgb: tuple[int, int, int]) -> Pixels:
    """Tint a drawing by its own lightness.  (H, W, 4) → (H, W, 4), premultiplied.

    Dark lines stay dark and highlights stay light, so that the shape survives.
    """
    alpha = pixels[..., 3:].astype(np.float32) / 255
    colour = pixels[..., :3].astype(np.float32) / np.maximum(alpha, 1e-3)
    light = (colour @ np.array([0.35, 0.5, 0.15], np.float32))[..., None].clip(0, 255) / 255
    middle = float(np.median(light[alpha > 0.5])) or 0.5
    middle = min(max(middle, 0.25), 0.8)
    target = np.array(rgb, np.float32)
    dark = target * (light / middle)
    bright = target + (255 - target) * ((light - middle) / (1 - middle)).clip(0, 1)
    tinted = np.where(light < middle, dark, bright) * alpha
    return np.concatenate([tinted.clip(0, 255), pixels[..., 3:]], -1).round().astype(np.uint8)


def build(side: int = STORED) -> list[Glyph]:
    """Render every chosen glyph, in a fixed order."""
    characters = read_names()
    return [
        Glyph(name, (PLAIN.get(name, name), *EXTRA.get(name, ())), draw(characters[name], side))
        for name in CHOSEN
    ]


def load(cache: Path, side: int = STORED) -> list[Glyph]:
    """Read the cache, rendering it first where it is missing."""
    if not cache.exists():
        glyphs = build(side)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            cache,
            pixels=np.stack([glyph.pixels for glyph in glyphs]),
            names=np.array([glyph.name for glyph in glyphs]),
            words=np.array(["|".join(glyph.words) for glyph in glyphs]),
        )
    stored = np.load(cache, allow_pickle=False)
    rows = zip(stored["names"], stored["words"], stored["pixels"], strict=True)
    return [Glyph(str(name), tuple(str(words).split("|")), pixels) for name, words, pixels in rows]


def fingerprint(glyphs: list[Glyph]) -> str:
    """Hash pixels and words: two trainings with one fingerprint saw the same data."""
    digest = hashlib.sha256()
    for glyph in glyphs:
        digest.update("|".join((glyph.name, *glyph.words)).encode())
        digest.update(glyph.pixels.tobytes())
    return digest.hexdigest()[:16]
