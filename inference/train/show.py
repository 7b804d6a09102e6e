"""Draw a model's own examples, and films of the first, for the pages that show them.

A film is the noisy picture after each step, side by side in one strip. Run it when the weights
have changed: `python -m inference.train.show marketplace/static/examples/glyph`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PIL import Image

from inference import media
from inference.engine import Engine, fill
from inference.models.contract import walk
from inference.wire import describe

SIDE = 128  # pixels of the finished picture
FILMS = 5  # examples that get a film
SLUG = "glyph"


def draw(folder: Path) -> None:
    """Write `<n>.png` for each example of the description, `<n>.film.png` for the first few."""
    about = describe(SLUG)
    model: Any = Engine().ensure(SLUG)
    folder.mkdir(parents=True, exist_ok=True)
    for place, example in enumerate(about["examples"]):
        inputs = fill(about["inputs"], {**example, "size": SIDE}, str(place))
        work = model.prepare(inputs)
        frames = [model.images(work.latents)[0]]
        frames += [model.images(work.latents)[0] for _ in walk(model.denoise(work))]
        (folder / f"{place}.png").write_bytes(media.png(model.decode(work)[0]))
        if place < FILMS:
            (folder / f"{place}.film.png").write_bytes(media.png(strip(frames)))


def strip(frames: list[Image.Image]) -> Image.Image:
    """Put frames of one size side by side."""
    width, height = frames[0].size
    whole = Image.new("RGB", (width * len(frames), height))
    for place, frame in enumerate(frames):
        whole.paste(frame, (place * width, 0))
    return whole


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
