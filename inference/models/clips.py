"""What families of video share: how long and how large a clip is, and its first frame."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

MOST_BYTES = 64_000_000
FETCH_SECONDS = 30.0
OUTPUT = {"kind": "video", "content_type": "video/mp4"}


def sides(inputs: dict[str, Any]) -> tuple[int, int]:
    """Height and width that `size` asks for, in pixels."""
    width, _, height = inputs["size"].partition("x")
    return int(height), int(width)


def frames(inputs: dict[str, Any], fps: int) -> int:
    """Count a clip's frames: the first one stands alone before its seconds, as VAEs want it."""
    return int(inputs["seconds"]) * fps + 1


def fetched(address: str) -> Image.Image:
    """Fetch a picture, upright and in RGB.  Raises ValueError, OSError."""
    if not address.startswith(("https://", "http://", "data:")):
        raise ValueError("image must be an http or data address")
    with urllib.request.urlopen(address, timeout=FETCH_SECONDS) as answer:  # noqa: S310 checked
        content = answer.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"image is larger than {MOST_BYTES} bytes")
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")


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
