"""What the rehearsal lab makes of a picture that it is given: a clip that moves slowly into it.

The first frame is the picture, cropped to the clip's shape; where the movement goes follows from
the words and the seed. The same picture and words give the same bytes.
"""

import hashlib
import io
import tempfile
from pathlib import Path

import av
from av.video.frame import VideoFrame
from PIL import Image, ImageOps

NEARER = 0.3  # how much of the picture has left the frame at the end
Size = tuple[int, int]


def animated(picture: bytes, prompt: str, size: Size, fps: int, frames: int, *, seed: int) -> bytes:
    """An MP4 (H.264) of exactly `frames` frames. Raises OSError where it is no picture."""
    with Image.open(io.BytesIO(picture)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    first = ImageOps.fit(upright, size, Image.Resampling.LANCZOS)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        encode(file.name, first, towards(prompt, seed), fps, frames)
        return Path(file.name).read_bytes()


def towards(prompt: str, seed: int) -> tuple[float, float]:
    """The point that the movement ends at, as shares of width and height."""
    chosen = hashlib.sha256(f"{prompt}\0{seed}".encode()).digest()
    return 0.2 + 0.6 * chosen[0] / 255, 0.2 + 0.6 * chosen[1] / 255


def encode(
    path: str, first: Image.Image, point: tuple[float, float], fps: int, frames: int
) -> None:
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = first.size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "superfast", "crf": "18", "threads": "1"}
        for number in range(frames):
            shown = nearer(first, point, number / max(frames - 1, 1))
            picture = VideoFrame.from_image(shown)  # type: ignore[no-untyped-call]
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def nearer(first: Image.Image, point: tuple[float, float], share: float) -> Image.Image:
    """The picture at `share` of the clip."""
    width, height = first.size
    eased = share * share * (3 - 2 * share)
    gone = NEARER * eased
    left, top = point[0] * gone * width, point[1] * gone * height
    box = (left, top, left + width * (1 - gone), top + height * (1 - gone))
    return first.resize(first.size, Image.Resampling.BILINEAR, box=box)
