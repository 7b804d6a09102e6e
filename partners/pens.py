"""What the rehearsal lab makes for each of its models; the same inputs give the same bytes.

`given` are the files that came along, in the order in which the model's inputs name them.
"""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageChops, ImageOps

from partners import drawing, motion

RESOLUTIONS = {"180p": (320, 180), "288p": (512, 288), "360p": (640, 360), "480p": (854, 480)}
STRENGTH = 0.25  # how much of the words' colour is laid over a picture
Size = tuple[int, int]


def render(model: str, given: Sequence[bytes], *what: Any) -> bytes:
    """One file. Raises OSError or ValueError where what was given is no picture or clip."""
    if model == "still":
        prompt, size, seed, index = what
        return drawing.still(prompt, sides(size), seed, index)
    if model == "blend":
        prompt, size, seed, masked = what
        pictures = list(given)
        mask = pictures.pop() if masked else None
        return blended(pictures, mask, tone(prompt, seed), sides(size))
    if model == "animate":
        prompt, resolution, fps, count, seed = what
        return motion.animated(given[0], prompt, RESOLUTIONS[resolution], fps, count, seed=seed)
    if model == "tint":
        prompt, resolution, fps, count, seed = what
        return motion.tinted(given[0], tone(prompt, seed), RESOLUTIONS[resolution], fps, count)
    prompt, resolution, fps, count, seed, sound = what
    return drawing.clip(prompt, RESOLUTIONS[resolution], fps, count, seed=seed, sound=sound)


def sides(size: str) -> Size:
    width, height = size.split("x")
    return int(width), int(height)


def tone(prompt: str, seed: int) -> drawing.Colour:
    """The colour of the words."""
    return drawing.scene(prompt, seed).colours[3]


def blended(
    pictures: Sequence[bytes], mask: bytes | None, colour: drawing.Colour, size: Size
) -> bytes:
    """A PNG of all pictures; where a mask is opaque it stays as in the first."""
    layers = [fitted(picture, size).convert("RGB") for picture in pictures]
    made = layers[0]
    for number, layer in enumerate(layers[1:], start=2):
        made = Image.blend(made, layer, 1 / number)
    made = Image.blend(made, Image.new("RGB", size, colour), STRENGTH)
    if mask is not None:
        stays = fitted(mask, size).convert("RGBA").getchannel("A")
        made = Image.composite(made, layers[0], ImageChops.invert(stays))
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()


def fitted(picture: bytes, size: Size) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as opened:
        upright = ImageOps.exif_transpose(opened)
        mode = "RGBA" if upright.has_transparency_data else "RGB"
        return ImageOps.fit(upright.convert(mode), size, Image.Resampling.LANCZOS)
