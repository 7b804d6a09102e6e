"""Draw the rehearsal lab's own examples for the pages that show them; a clip by its first frame.

Run it when `drawing.py` or the examples have changed:
`python -m partners.posters marketplace/static/examples`.
"""

import io
import sys
from pathlib import Path

from PIL import Image

from partners import drawing
from partners.labs.rehearsal import descriptions

SIDE = 320  # pixels, on the pages
COLOURS = 128  # keeps a poster near 30 kB


def draw(folder: Path) -> None:
    """Write `<target>/<n>.png` for each example of each model."""
    for described in descriptions():
        (folder / described.target).mkdir(parents=True, exist_ok=True)
        for place, example in enumerate(described.examples):
            picture = drawing.still(example["prompt"], (512, 512), example.get("seed", 0), 0)
            poster = Image.open(io.BytesIO(picture)).convert("RGB")
            small = poster.resize((SIDE, SIDE), Image.Resampling.LANCZOS).quantize(COLOURS)
            small.save(folder / described.target / f"{place}.png", optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
