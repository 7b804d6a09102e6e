"""Encode what models draw.  The same picture always gives the same bytes."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable
from fractions import Fraction

import av
from PIL import Image

from inference.models.contract import Clip, Drawn

WEBP = "image/webp"


def encode(drawn: Drawn, content_type: str = "") -> bytes:
    """Encode a picture as PNG, a clip as MP4 or, where that is asked for, as animated WebP."""
    if not isinstance(drawn, Clip):
        return png(drawn)
    return webp(drawn) if content_type == WEBP else mp4(drawn)


def encoded(drawn: Iterable[Drawn], content_type: str) -> tuple[bytes, ...]:
    """Encode all that a run drew."""
    return tuple(encode(one, content_type) for one in drawn)


def webp(clip: Clip) -> bytes:
    """Encode a clip as animated WebP; its frames' whole milliseconds add up to its length."""
    ends = [round(1000 * frame / clip.fps) for frame in range(len(clip.frames) + 1)]
    lengths = [after - before for before, after in itertools.pairwise(ends)]
    first, *others = [Image.fromarray(frame) for frame in clip.frames.numpy()]
    stream = io.BytesIO()
    first.save(
        stream, "WEBP", save_all=True, append_images=others, duration=lengths, loop=0,
        quality=85, method=2, minimize_size=False, allow_mixed=False,
    )  # fmt: skip
    return stream.getvalue()


def mp4(clip: Clip) -> bytes:
    """Encode a clip as H.264 in MP4, on one thread so that the same clip gives the same bytes."""
    file = io.BytesIO()
    _, height, width, _ = clip.frames.shape
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(clip.fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.options = {"threads": "1", "crf": "17"}
        for picture in clip.frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """Encode a picture as PNG, without time or tool marks."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def data_uri(image: Image.Image) -> str:
    """Encode a picture as a `data:` address, for previews of a few kilobytes."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
