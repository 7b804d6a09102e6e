"""Encoding: the same clip gives the same bytes, and decodes to as many frames."""

from __future__ import annotations

import io

import av
import torch
from PIL import Image

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


def test_a_moving_picture_lasts_as_long_as_its_clip() -> None:
    frames = torch.zeros(48, 16, 16, 3, dtype=torch.uint8)
    frames[:, :, :, 0] = torch.arange(48)[:, None, None] * 5
    content = media.encode(Clip(frames, 24), media.WEBP)
    assert content == media.encode(Clip(frames, 24), media.WEBP)
    lasted = 0
    with Image.open(io.BytesIO(content)) as picture:
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            picture.load()
            lasted += picture.info["duration"]
    assert lasted == 2000
