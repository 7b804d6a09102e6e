"""What the rehearsal lab makes clips of: a picture that it moves slowly into, or another clip.

The first frame is the picture, cropped to the clip's shape; where the movement goes follows from
the words and the seed. A clip is played in another colour. The same inputs give the same bytes.
"""

import hashlib
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

import av
from av.video.frame import VideoFrame
from PIL import Image, ImageOps

TINT = 0.35  # how much of the colour lies over a clip
NEARER = 0.3  # how much of the picture has left the frame at the end
Size = tuple[int, int]


def animated(picture: bytes, prompt: str, size: Size, fps: int, frames: int, *, seed: int) -> bytes:
    """An MP4 (H.264) of exactly `frames` frames. Raises OSError where it is no picture."""
    with Image.open(io.BytesIO(picture)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    first = ImageOps.fit(upright, size, Image.Resampling.LANCZOS)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        point = towards(prompt, seed)
        shares = (number / max(frames - 1, 1) for number in range(frames))
        encode(file.name, (nearer(first, point, share) for share in shares), size, fps)
        return Path(file.name).read_bytes()


def towards(prompt: str, seed: int) -> tuple[float, float]:
    """The point that the movement ends at, as shares of width and height."""
    chosen = hashlib.sha256(f"{prompt}\0{seed}".encode()).digest()
    return 0.2 + 0.6 * chosen[0] / 255, 0.2 + 0.6 * chosen[1] / 255


def tinted(clip: bytes, colour: tuple[int, int, int], size: Size, fps: int, frames: int) -> bytes:
    """The clip in another colour, cut or played again to `frames` frames.

    Raises OSError or ValueError where it is no clip.
    """
    with av.open(io.BytesIO(clip), "r", format="mp4") as container:
        shown = [picture_of(frame, size) for frame in container.decode(video=0)]
    if not shown:
        raise ValueError("no frame")
    toned = [Image.blend(one, Image.new("RGB", size, colour), TINT) for one in shown]
    pictures = (toned[number % len(toned)] for number in range(frames))
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        encode(file.name, pictures, size, fps)
        return Path(file.name).read_bytes()


def picture_of(frame: VideoFrame, size: Size) -> Image.Image:
    picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return ImageOps.fit(picture, size, Image.Resampling.BILINEAR)


def encode(path: str, pictures: Iterable[Image.Image], size: Size, fps: int) -> None:
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "superfast", "crf": "18", "threads": "1"}
        for picture in pictures:
            container.mux(stream.encode(VideoFrame.from_image(picture)))  # type: ignore[no-untyped-call]
        container.mux(stream.encode(None))


def nearer(first: Image.Image, point: tuple[float, float], share: float) -> Image.Image:
    """The picture at `share` of the clip."""
    width, height = first.size
    eased = share * share * (3 - 2 * share)
    gone = NEARER * eased
    left, top = point[0] * gone * width, point[1] * gone * height
    box = (left, top, left + width * (1 - gone), top + height * (1 - gone))
    return first.resize(first.size, Image.Resampling.BILINEAR, box=box)
