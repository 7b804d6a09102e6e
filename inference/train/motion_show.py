"""Make the examples of `kinora/glyph-motion` for the pages that show them, as moving PNGs.

They play twice and rest, so that nothing moves for longer than four seconds. Run it when weights
have changed: `python -m inference.train.motion_show marketplace/static/examples/glyph-motion`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PIL import Image

from inference.engine import Engine, fill
from inference.models.contract import walk
from inference.wire import describe

SLUG, SIZE = "glyph-motion", "128x128"
EVERY = 2  # frames, of which one is kept


def show(folder: Path) -> None:
    """Write `<n>.png` for each example of the description."""
    about = describe(SLUG)
    model: Any = Engine().ensure(SLUG)
    folder.mkdir(parents=True, exist_ok=True)
    for place, example in enumerate(about["examples"]):
        work = model.prepare(fill(about["inputs"], {**example, "size": SIZE}, str(place)))
        for _ in walk(model.denoise(work)):
            pass
        (clip,) = model.decode(work)
        frames = [Image.fromarray(frame) for frame in clip.frames[::EVERY].numpy()]
        small = [frame.quantize(64, dither=Image.Dither.NONE) for frame in frames]
        small[0].save(
            folder / f"{place}.png", save_all=True, append_images=small[1:],
            duration=round(1000 * EVERY / clip.fps), loop=2, optimize=True,
        )  # fmt: skip


if __name__ == "__main__":
    show(Path(sys.argv[1]))
