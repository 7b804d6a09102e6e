"""Small and large files of every kind, good and hostile, made without a codec where one can."""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from partners import drawing

BLOCK = bytes(range(256)) * 4096  # 1 MiB


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), shade: int = 200) -> bytes:
    """A plain picture."""
    held = io.BytesIO()
    Image.new("RGB", size, (shade, 90, 30)).save(held, kind)
    return held.getvalue()


def heavy_picture(mebibytes: int) -> bytes:
    """A small picture in a large file: a PNG with much that no viewer reads."""
    plain = picture()
    end = plain.rindex(b"IEND") - 4
    return plain[:end] + drawing.chunk(b"kiNo", BLOCK) * mebibytes + plain[end:]


def animation(frames: int = 3, kind: str = "GIF") -> bytes:
    held = io.BytesIO()
    first, *rest = [Image.new("RGB", (20, 10), (n * 60 % 256, 90, 30)) for n in range(frames)]
    first.save(held, kind, save_all=True, append_images=rest, duration=100)
    return held.getvalue()


def short_clip(*, frames: int = 12, sound: bool = False) -> bytes:
    return drawing.clip("dusk", (320, 180), 8, frames, seed=0, sound=sound)


def wav_head(size: int) -> bytes:
    """What stands before `size` bytes of samples: 48 kHz, stereo, 16 bits."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 2, 48_000, 192_000, 4, 16, b"data", size),
    )


def wav(blocks: int) -> Iterator[bytes]:
    """A sound of `blocks` mebibytes, in pieces."""
    yield wav_head(blocks * len(BLOCK))
    for _ in range(blocks):
        yield BLOCK


def bomb() -> bytes:
    """A small PNG that says it is 50,000 pixels wide and high."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    body = drawing.chunk(b"IHDR", head) + drawing.chunk(b"IDAT", zlib.compress(b"\0" * 50_001))
    return b"\x89PNG\r\n\x1a\n" + body + drawing.chunk(b"IEND", b"")


def many_frames() -> bytes:
    """A small GIF of 5,000 frames."""
    whole = animation(2)
    frame = whole[whole.index(b"\x21\xf9") : -1]
    return whole[:-1] + frame * 2500 + b";"
