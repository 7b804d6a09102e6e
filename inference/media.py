"""Encode what models draw.  The same picture always gives the same bytes."""

from __future__ import annotations

import base64
import io

from PIL import Image


def png(image: Image.Image) -> bytes:
    """Encode a picture as PNG, without time or tool marks."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def data_uri(image: Image.Image) -> str:
    """Encode a picture as a `data:` address, for previews of a few kilobytes."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
