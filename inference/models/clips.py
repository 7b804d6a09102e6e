"""What families of video share: how long and how large a clip is, and its first frame."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from inference.models.contract import Unusable

MOST_BYTES = 64_000_000
MOST_PIXELS, LEAST_SIDE = 64_000_000, 16
TOO_LARGE = f"has too many pixels; allowed are {MOST_PIXELS // 10**6} million."
GONE = (400, 401, 403, 404, 410, 451)  # asking again will not help
FETCH_SECONDS = 30.0
OUTPUT = {"kind": "video", "content_type": "video/mp4"}


def sides(inputs: dict[str, Any]) -> tuple[int, int]:
    """Height and width that `size` asks for, in pixels."""
    width, _, height = inputs["size"].partition("x")
    return int(height), int(width)


def frames(inputs: dict[str, Any], fps: int) -> int:
    """Count a clip's frames: the first one stands alone before its seconds, as VAEs want it."""
    return int(inputs["seconds"]) * fps + 1


def fetched(address: str, field: str = "image") -> Image.Image:
    """Fetch a picture, upright and in RGB.

    Raises Unusable, naming the field, for what is none or cannot be taken, and OSError where it
    cannot be fetched just now.
    """
    if not address.startswith(("https://", "http://", "data:")):
        raise Unusable(field, "must be an http or data address.")
    content = downloaded(address, field)
    try:
        picture = Image.open(io.BytesIO(content))
        check_size(*picture.size, field)
        return ImageOps.exif_transpose(picture).convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unusable(field, TOO_LARGE) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # as decoders see fit
        if isinstance(error, Unusable):
            raise
        raise Unusable(field, "is no picture that can be read; use PNG, JPEG or WebP.") from None


def downloaded(address: str, field: str) -> bytes:
    """Fetch what is at an address.  Raises Unusable, OSError."""
    try:
        with urllib.request.urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 checked
            content: bytes = answer.read(MOST_BYTES + 1)
    except HTTPError as error:
        if error.code in GONE:
            raise Unusable(field, f"cannot be fetched: its address answers {error.code}.") from None
        raise
    except ValueError:  # a data address that is none, or no address at all
        raise Unusable(field, "must be an http or data address.") from None
    if len(content) > MOST_BYTES:
        raise Unusable(field, f"is larger than {MOST_BYTES // 10**6} MB.")
    return content


def check_size(width: int, height: int, field: str) -> None:
    """Check a picture's sides, before it is decoded.  Raises Unusable."""
    if min(width, height) < LEAST_SIDE:
        raise Unusable(field, f"is {width} × {height}; each side needs {LEAST_SIDE} pixels.")
    if width * height > MOST_PIXELS:
        raise Unusable(field, TOO_LARGE)


def fitted(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scale a picture and cut what stands out, evenly on both sides."""
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def pixels(image: Image.Image) -> Tensor:
    """Turn a picture into -1..1.  → (1, 3, H, W) float32."""
    levels = np.array(image).astype(np.float32) / 255.0
    return torch.from_numpy(levels).permute(2, 0, 1)[None] * 2.0 - 1.0


def spread(values: Sequence[float], like: Tensor) -> Tensor:
    """Lay one value per channel along a clip.  → (1, C, 1, 1, 1)."""
    return torch.tensor(values).view(1, -1, 1, 1, 1).to(like.device, like.dtype)
