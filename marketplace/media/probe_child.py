"""Opens files that nobody vouches for, in a process that may be killed. Run by `probe.py`.

Imports nothing of the project. Reads a JSON line with a path, answers with a JSON line: what the
content is and how large and long, measured by decoding all of it, or why that is not possible.
"""

import json
import resource
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from PIL import Image

MEMORY_BYTES = 1536 * 1024 * 1024
OPEN_FILES = 64
IMAGE_PIXELS = 64_000_000
FRAME_PIXELS = 4096 * 2304
FRAMES = 60 * 60
IMAGES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
VIDEOS = {"mp4": "video/mp4", "webm": "video/webm"}  # the demuxer's name → its type


class Unusable(Exception):
    """The file is not what it should be."""


def probe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return video(path, "mp4")
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return video(path, "webm")
    return image(path)


def image(path: Path) -> dict[str, Any]:
    with Image.open(path, formats=list(IMAGES)) as picture:
        width, height = picture.size
        if width * height > IMAGE_PIXELS:
            raise Unusable(f"{width} × {height} pixels are too many")
        picture.load()
        name = picture.format or ""
    return measures("image", IMAGES[name], width, height, codec=name.lower())


def video(path: Path, demuxer: str) -> dict[str, Any]:
    """Count every frame; a header's word on length is not asked for."""
    with av.open(str(path), format=demuxer, options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise Unusable("it has no pictures")
        stream = container.streams.video[0]
        if stream.width * stream.height > FRAME_PIXELS:
            raise Unusable(f"{stream.width} × {stream.height} pixels are too many")
        times = [frame.pts for frame in decoded(container)]
        if not times:
            raise Unusable("no frame can be decoded")
        rate = stream.average_rate or Fraction(1)
        seconds = length(times, stream.time_base or Fraction(1), Fraction(rate))
        found = measures(
            "video", VIDEOS[demuxer], stream.width, stream.height, codec=stream.name or ""
        )
    return found | {"frames": len(times), "seconds": str(seconds), "sound": audible(path, demuxer)}


def decoded(container: InputContainer) -> Iterator[VideoFrame]:
    for number, frame in enumerate(container.decode(video=0)):
        if number >= FRAMES:
            raise Unusable("it has too many frames")
        yield frame


def length(times: list[int | None], base: Fraction, rate: Fraction) -> Fraction:
    """Frames × their mean distance; one frame alone lasts as long as the rate says."""
    known = sorted(t for t in times if t is not None)
    if len(known) < 2 or known[0] == known[-1]:
        return len(times) / rate
    return Fraction(known[-1] - known[0], len(known) - 1) * base * len(times)


def audible(path: Path, demuxer: str) -> bool:
    """Whether there is a sound track that can be decoded."""
    with av.open(str(path), format=demuxer, options={"protocol_whitelist": "file"}) as container:
        if not container.streams.audio:
            return False
        return any(frame.samples for frame in container.decode(audio=0))


def measures(
    kind: str, content_type: str, width: int, height: int, *, codec: str
) -> dict[str, Any]:
    return {
        "kind": kind,
        "content_type": content_type,
        "width": width,
        "height": height,
        "codec": codec,
    }


def answer(line: str) -> dict[str, Any]:
    try:
        return {"found": probe(Path(json.loads(line)))}
    except Unusable as error:
        return {"unusable": str(error)}
    except MemoryError:
        return {"unusable": "it takes too much memory to decode"}
    except Exception as error:  # whatever a decoder throws
        return {"unusable": f"it cannot be decoded ({type(error).__name__})"}


def confine() -> None:
    """Give up what decoding does not need: memory without bound, writing files, core dumps."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    Image.MAX_IMAGE_PIXELS = IMAGE_PIXELS
    av.logging.set_level(None)
    confine()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
