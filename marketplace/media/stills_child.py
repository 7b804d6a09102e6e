"""Draws a picture of a clip, in a process that may be killed. Run by `stills.py`.

Imports nothing of the project. Arguments: the clip and what is wanted; the picture's bytes go to
standard output, and nothing does where it cannot be drawn.
"""

import resource
import sys
from collections.abc import Iterator
from io import BytesIO

import av
from PIL import Image

MEMORY_BYTES = 1536 * 1024 * 1024
FRAMES = 60 * 60
COLUMNS, ROWS = 4, 4
WIDTH = 320  # of a frame on a sheet


def thumbnail(path: str) -> bytes:
    """The first frame, as WebP."""
    return encoded(next(frames(path)), "WEBP", quality=82)


def spritesheet(path: str) -> bytes:
    """Sixteen frames, evenly spread over the clip, row by row, as JPEG."""
    count = sum(1 for _ in frames(path))
    wanted = [place * count // (COLUMNS * ROWS) for place in range(COLUMNS * ROWS)]
    sheet: Image.Image | None = None
    for number, frame in enumerate(frames(path)):
        places = [place for place, chosen in enumerate(wanted) if chosen == number]
        if not places:
            continue
        small = frame.resize((WIDTH, max(1, round(WIDTH * frame.height / frame.width))))
        sheet = sheet or Image.new("RGB", (COLUMNS * WIDTH, ROWS * small.height))
        for place in places:
            sheet.paste(small, (place % COLUMNS * WIDTH, place // COLUMNS * small.height))
    if sheet is None:
        raise ValueError("no frame")
    return encoded(sheet, "JPEG", quality=85)


def frames(path: str) -> Iterator[Image.Image]:
    with av.open(path, options={"protocol_whitelist": "file"}) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == FRAMES:
                return
            yield frame.to_image()  # type: ignore[no-untyped-call]


def encoded(picture: Image.Image, form: str, *, quality: int) -> bytes:
    file = BytesIO()
    picture.save(file, form, quality=quality)
    return file.getvalue()


def main() -> None:
    av.logging.set_level(None)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, wanted = sys.argv[1:]
    draw = {"thumbnail": thumbnail, "spritesheet": spritesheet}[wanted]
    sys.stdout.buffer.write(draw(path))


if __name__ == "__main__":
    main()
