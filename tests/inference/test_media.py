"""Encoding: the same clip gives the same bytes, and decodes to as many frames."""

from __future__ import annotations

import io

import av
import torch

from inference import media
from inference.models.contract import Clip


def test_a_clip_is_encoded_alike_each_time_and_keeps_its_frames() -> None:
    frames = torch.randint(0, 256, (9, 32, 48, 3), dtype=torch.uint8)
    files = {media.encode(Clip(frames, fps=8)) for _ in range(2)}
    assert len(files) == 1
    with av.open(io.BytesIO(files.pop())) as container:
        shown = list(container.decode(video=0))
        rate = container.streams.video[0].average_rate
    assert (len(shown), shown[0].width, shown[0].height, rate) == (9, 48, 32, 8)
