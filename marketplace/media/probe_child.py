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
from PIL import Image, UnidentifiedImageError

MEMORY_BYTES = 1536 * 1024 * 1024
OPEN_FILES = 64
IMAGE_PIXELS = 64_000_000
FRAME_PIXELS = 4096 * 2304
FRAMES = 60 * 60
MOVING_PIXELS = 1_000_000_000  # of all frames of an animated picture
SOUND_SECONDS = 60 * 60
IMAGES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
VIDEOS = {"mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm"}  # by demuxer
SOUNDS = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "audio/mp4",
}


class Unusable(Exception):
    """The file is not what it should be."""


def probe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        head = file.read(16)
    demuxer = demuxer_of(head)
    if demuxer in SOUNDS and not (demuxer == "mp4" and has_pictures(path)):
        return sound(path, demuxer)
    return video(path, demuxer) if demuxer else image(path)


def demuxer_of(head: bytes) -> str:
    """Who is to open a film or a sound, by its first bytes; empty for a picture."""
    if head[4:8] == b"ftyp":
        return "mov" if head[8:12] == b"qt  " else "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:2] in {b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xfa"}:
        return "mp3"
    known = {b"\x1a\x45\xdf\xa3": "webm", b"fLaC": "flac", b"OggS": "ogg", b"ID3\x03": "mp3"}
    return (known | {b"ID3\x02": "mp3", b"ID3\x04": "mp3"}).get(head[:4], "")


def opened(path: Path, demuxer: str) -> InputContainer:
    """Never by its name or by guessing: a playlist could name other files."""
    return av.open(str(path), format=demuxer, options={"protocol_whitelist": "file"})


def has_pictures(path: Path) -> bool:
    with opened(path, "mp4") as container:
        return bool(container.streams.video)


def image(path: Path) -> dict[str, Any]:
    with Image.open(path, formats=list(IMAGES)) as picture:
        width, height = picture.size
        if width * height > IMAGE_PIXELS:
            raise Unusable(f"{width} × {height} pixels are too many")
        picture.load()
        name = picture.format or ""
        frames, seconds = moving(picture)
    found = measures("image", IMAGES[name], width, height, codec=name.lower())
    return found | ({"frames": frames, "seconds": str(seconds)} if frames > 1 else {})


def moving(picture: Image.Image) -> tuple[int, Fraction]:
    """Decode every frame of a picture that may move; how many there are and how long they last."""
    frames: int = getattr(picture, "n_frames", 1)
    if frames > FRAMES or frames * picture.width * picture.height > MOVING_PIXELS:
        raise Unusable("it has too many frames")
    thousandths = Fraction(picture.info.get("duration", 0))
    for number in range(1, frames):
        picture.seek(number)
        picture.load()
        thousandths += Fraction(picture.info.get("duration", 0))
    return frames, thousandths / 1000


def sound(path: Path, demuxer: str) -> dict[str, Any]:
    """Count every sample."""
    with opened(path, demuxer) as container:
        if not container.streams.audio:
            raise Unusable("it holds no sound")
        stream = container.streams.audio[0]
        samples, rate = 0, stream.rate or 0
        for frame in container.decode(audio=0):
            samples += frame.samples
            if not rate or samples > SOUND_SECONDS * rate:
                raise Unusable("it is too long")
        if not samples:
            raise Unusable("no sound can be decoded")
        found = measures("audio", SOUNDS[demuxer], None, None, codec=stream.name or "")
    return found | {"seconds": str(Fraction(samples, rate)), "sound": True}


def video(path: Path, demuxer: str) -> dict[str, Any]:
    """Count every frame; a header's word on length is not asked for."""
    with opened(path, demuxer) as container:
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
    with opened(path, demuxer) as container:
        if not container.streams.audio:
            return False
        return any(frame.samples for frame in container.decode(audio=0))


def measures(
    kind: str, content_type: str, width: int | None, height: int | None, *, codec: str
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
    except UnidentifiedImageError:
        return {"unusable": "it is no picture, film or sound that we know"}
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
