"""What the rehearsal lab draws: a wheel of twelve leaves, three of them lit, turning in clips.

Everything follows from the prompt, the seed and the place in the batch; the same words give the
same bytes. Pillow draws, PyAV encodes; nothing here knows of HTTP.
"""

import hashlib
import io
import math
import struct
import tempfile
import zlib
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from PIL import Image, ImageChops, ImageDraw, ImageOps

Colour = tuple[int, int, int]

LEAVES, LIT = 12, 3
SAMPLE_RATE = 48_000
CHORDS = ((220, 330, 440, 550), (200, 300, 400, 500), (260, 390, 520, 650), (180, 270, 450, 540))
# Ground from shadow to sky, then the leaves, then the light. Chosen by eye as evening colours.
PALETTES: tuple[tuple[str, ...], ...] = (
    ("0f1626", "24304f", "6b4a6e", "d98f6c", "f3c78f", "ffe9bf"),
    ("12100e", "3a2419", "8a4a22", "d98032", "f5a64a", "fff0cf"),
    ("0b1f22", "12403f", "2d7a6d", "8cc3a0", "e3dfae", "fff8dc"),
    ("1a1030", "40205a", "8a3a78", "e0658a", "ffb199", "ffeede"),
    ("101b2d", "1d4468", "3f86a8", "9fcbd1", "e9e2cf", "fffdf2"),
    ("1c1917", "4a3f35", "8a7a63", "cdb892", "f1e4c6", "ffffff"),
    ("0e1a12", "23452b", "5d8a3d", "b8c45a", "f2d878", "fff6cc"),
    ("220f14", "5c1a2b", "a8323f", "e8704f", "f9b572", "ffe8c2"),
    ("0d1330", "2b2f7a", "5a62c9", "9aa8ef", "e3c8e8", "fff3f8"),
    ("161212", "3f2d3b", "7d5468", "c58a8d", "efc3b0", "fff1e6"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a prompt became. Angles in radians, lengths as shares of the shorter side."""

    colours: tuple[Colour, ...]
    ground: tuple[Colour, ...]  # 4 × 4, spread over the picture
    foliage: tuple[Colour, ...]
    curl: float
    width: float
    inner: float
    outer: float
    turn: float
    chord: tuple[int, ...]


def scene(prompt: str, seed: int, index: int = 0) -> Scene:
    """Choose a picture by the words alone."""
    text = f"{prompt}\0{seed}\0{index}".encode()
    random = Random(int.from_bytes(hashlib.sha256(text).digest()))  # noqa: S311 not for secrets
    colours = tuple(colour(text) for text in random.choice(PALETTES))
    return Scene(
        colours=colours,
        ground=tuple(mixed(colours, (i // 4) * 0.9 + random.random() * 1.3) for i in range(16)),
        foliage=tuple(mixed(colours, 2.2 + random.random() * 2.6) for _ in range(9)),
        curl=random.uniform(-1.1, 1.1),
        width=random.uniform(0.085, 0.16),
        inner=random.uniform(0.05, 0.12),
        outer=random.uniform(0.36, 0.46),
        turn=random.uniform(0, math.tau),
        chord=random.choice(CHORDS),
    )


def colour(text: str) -> Colour:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


def mixed(colours: tuple[Colour, ...], place: float) -> Colour:
    """The colour at `place` along the palette, between its neighbours."""
    low = min(int(place), len(colours) - 2)
    share = min(max(place - low, 0.0), 1.0)
    one, two = colours[low], colours[low + 1]
    return (
        round(one[0] + (two[0] - one[0]) * share),
        round(one[1] + (two[1] - one[1]) * share),
        round(one[2] + (two[2] - one[2]) * share),
    )


def still(prompt: str, size: tuple[int, int], seed: int, index: int) -> bytes:
    """A PNG of `size`."""
    if size == (64, 64):
        return thumbnail(prompt, seed, index)
    wheel = Wheel(scene(prompt, seed, index), size)
    held = io.BytesIO()
    wheel.frame(0.0).save(held, "PNG", compress_level=4)
    return held.getvalue()


class Wheel:
    """The parts of a scene at one size, ready to be turned."""

    def __init__(self, drawn: Scene, size: tuple[int, int]) -> None:
        self.scene, self.size = drawn, size
        side = min(size)
        self.foliage = mesh(drawn.foliage, 3, size)
        self.leaves = leaves(drawn, side, range(LEAVES))
        self.lit = leaves(drawn, side, range(LIT))
        self.glow = Image.radial_gradient("L").resize((side, side), Image.Resampling.BICUBIC)
        self.glow = self.placed(
            ImageOps.invert(self.glow).point(lambda v: int(max(v - 24, 0) ** 2 / 520))
        )
        self.light = Image.new("RGB", size, drawn.colours[-1])

    def frame(self, share: float) -> Image.Image:
        """The picture at `share` of a film: the leaves glide, the light flicks."""
        picture = mesh(drifted(self.scene.ground, share), 4, self.size)
        picture.paste(self.light, mask=self.glow)
        glide = math.degrees(self.scene.turn) + share * 90
        flick = glide + 30 * math.floor(share * 24)
        picture.paste(self.foliage, mask=self.turned(self.leaves, glide))
        picture.paste(self.light, mask=self.turned(self.lit, flick))
        return picture

    def turned(self, mask: Image.Image, degrees: float) -> Image.Image:
        return self.placed(mask.rotate(degrees, Image.Resampling.BILINEAR))

    def placed(self, mask: Image.Image) -> Image.Image:
        """A square mask in the middle of the picture."""
        whole = Image.new("L", self.size)
        whole.paste(mask, ((self.size[0] - mask.width) // 2, (self.size[1] - mask.height) // 2))
        return whole


def drifted(colours: tuple[Colour, ...], share: float) -> tuple[Colour, ...]:
    """The ground a moment later: each point breathes towards its neighbour and back."""
    sway = 0.5 - 0.5 * math.cos(share * math.tau)
    return tuple(mixed((one, colours[i ^ 1]), sway * 0.8) for i, one in enumerate(colours))


def mesh(colours: tuple[Colour, ...], across: int, size: tuple[int, int]) -> Image.Image:
    """A smooth gradient through `across` × `across` colours."""
    small = Image.new("RGB", (across, across))
    small.putdata(list(colours))
    return small.resize(size, Image.Resampling.BICUBIC)


def leaves(drawn: Scene, side: int, which: range) -> Image.Image:
    """A mask of some leaves of the wheel, drawn at twice the size for smooth edges."""
    wide = side * 2
    mask = Image.new("L", (wide, wide))
    for number in which:
        one = Image.new("L", (wide, wide))
        pen = ImageDraw.Draw(one)
        for layer in range(10):  # from the edge to the midrib
            tone = 36 + layer * 16
            pen.polygon(leaf(drawn, wide, number, 1 - layer / 10), fill=tone)
        mask = ImageChops.screen(mask, one)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


def leaf(drawn: Scene, side: int, number: int, share: float) -> list[tuple[float, float]]:
    """The outline of one leaf, `share` of its full width."""
    edge: list[tuple[float, float]] = []
    back: list[tuple[float, float]] = []
    for step in range(25):
        along = step / 24
        radius = drawn.inner + (drawn.outer - drawn.inner) * along
        middle = math.tau * number / LEAVES + drawn.curl * along * along
        half = drawn.width * share * math.sin(math.pi * along**0.8) / 2 / max(radius, 0.05)
        for angle, side_points in ((middle - half, edge), (middle + half, back)):
            x, y = radius * math.cos(angle), radius * math.sin(angle)
            side_points.append((side * (0.5 + x), side * (0.5 + y)))
    return edge + back[::-1]


# ── the small picture that costs nothing: one drawing, a palette for every prompt ─────────────


@lru_cache(maxsize=1)
def template() -> tuple[bytes, bytes]:
    """What stands before and after the palette in every 64 × 64 PNG."""
    grey = Wheel(scene("thumbnail", 0), (64, 64)).frame(0.0).convert("L")
    rows = ImageOps.autocontrast(grey).point(lambda v: v >> 4).tobytes()
    pixels = b"".join(
        b"\0" + bytes(a << 4 | b for a, b in zip(row[::2], row[1::2], strict=True))
        for row in (rows[y * 64 : y * 64 + 64] for y in range(64))
    )
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 4, 3, 0, 0, 0))
    tail = chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head, tail


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def thumbnail(prompt: str, seed: int, index: int) -> bytes:
    """A 64 × 64 PNG in microseconds: sixteen tones of the prompt's palette."""
    head, tail = template()
    colours = scene(prompt, seed, index).colours
    tones = (mixed(colours, tone / 3) for tone in range(16))
    return head + chunk(b"PLTE", b"".join(bytes(tone) for tone in tones)) + tail


# ── clips ─────────────────────────────────────────────────────────────────────────────────────


def clip(
    prompt: str, size: tuple[int, int], fps: int, frames: int, *, seed: int, sound: bool
) -> bytes:
    """An MP4 (H.264, and AAC where there is sound) of exactly `frames` frames.

    Goes through a file: the index can be moved to the front only where the file can be reopened.
    """
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        encode(file.name, scene(prompt, seed), size, fps, frames, sound)
        return Path(file.name).read_bytes()


def encode(
    path: str, drawn: Scene, size: tuple[int, int], fps: int, frames: int, sound: bool
) -> None:
    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "superfast", "crf": "21", "threads": "1"}
        chord = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if sound else None
        wheel = Wheel(drawn, size)
        for number in range(frames):
            picture = VideoFrame.from_image(  # type: ignore[no-untyped-call]
                wheel.frame(number / fps / 10)
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if chord is not None:
            for part in sounding(drawn.chord, frames / fps):
                container.mux(chord.encode(part))
            container.mux(chord.encode(None))


def sounding(chord: tuple[int, ...], seconds: float) -> list[AudioFrame]:
    """A soft chord that swells and fades. Its notes are multiples of 10 Hz, so that a tenth of a
    second repeats without a click."""
    period = SAMPLE_RATE // 10
    tone = [
        sum(math.sin(math.tau * note * i / SAMPLE_RATE) / (k + 2) for k, note in enumerate(chord))
        for i in range(period)
    ]
    parts = []
    count = round(seconds * 10)
    for number in range(count):
        begin, end = swell(number, count), swell(number + 1, count)
        loud = [5200 * (begin + (end - begin) * i / period) for i in range(period)]
        samples = array("h", (round(t * v) for t, v in zip(tone, loud, strict=True)))
        frame = AudioFrame(format="s16", layout="mono", samples=period)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = SAMPLE_RATE, number * period
        parts.append(frame)
    return parts


def swell(number: int, count: int) -> float:
    return math.sin(math.pi * number / count) ** 0.6 if 0 < number < count else 0.0
