"""What was asked for beside what was measured, where no unit counts it: size, rate, sound, format.

The rules of the third witness in one place; `docs/concepts.md` publishes them. An output that is
beyond a tolerance is not charged by itself: the hold waits for an admin. Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from marketplace.media.probe import Measures

Inputs = Mapping[str, Any]
PIXELS, SHARE = 16, Decimal("0.02")  # a side may be off by a codec's block or by 2 %
FRAMES = Decimal("0.5")  # and a rate by half a frame a second, or by 2 %
WIDE = Decimal(16) / 9
NAMED = {"4k": 2160, "8k": 4320}  # what "2k" is, nobody agrees on
RATES = ("fps", "frame_rate", "frames_per_second")
SOUNDS = ("sound", "audio", "with_audio", "generate_audio")
FORMATS = ("format", "output_format", "codec")
ALIKE = {"jpg": "jpeg", "h265": "hevc", "avc": "h264", "avc1": "h264"}


@dataclass(frozen=True, slots=True)
class Check:
    """One property of one output, in words. agrees: within the tolerance."""

    output: int
    what: str
    asked: str
    measured: str
    agrees: bool


def checks(inputs: Inputs, found: Sequence[Measures]) -> list[dict[str, Any]]:
    """Every property that the inputs name, of every output; as it is stored with the run."""
    told = (rule(n, inputs, m) for n, m in enumerate(found) for rule in RULES)
    return [asdict(check) for check in told if check]


def close(one: Decimal | int, other: Decimal | int, slack: Decimal | int) -> bool:
    one, other = Decimal(one), Decimal(other)
    return abs(one - other) <= max(Decimal(slack), SHARE * max(one, other))


def first(inputs: Inputs, names: Iterable[str]) -> Any:
    return next((inputs[name] for name in names if inputs.get(name) is not None), None)


# ── rules ─────────────────────────────────────────────────────────────────────────────────────


def size(output: int, inputs: Inputs, found: Measures) -> Check | None:
    """Width × height as asked, or a resolution by its shorter side (or a wide picture's longer)."""
    asked, width, height = sides(inputs), found.width or 0, found.height or 0
    if asked:
        agrees = close(asked[0], width, PIXELS) and close(asked[1], height, PIXELS)
        words = f"{asked[0]} × {asked[1]}"
    elif lines := resolution(inputs):
        short, long = sorted((width, height))
        agrees = close(short, lines, PIXELS) or close(long, lines * WIDE, PIXELS)
        words = str(inputs["resolution"])
    else:
        return None
    return Check(output, "size", words, f"{width} × {height}", agrees)


def sides(inputs: Inputs) -> tuple[int, int] | None:
    """Width and height, where the inputs name both; a lone `size` is a square's."""
    if whole(inputs.get("width")) and whole(inputs.get("height")):
        return inputs["width"], inputs["height"]
    if whole(inputs.get("size")) and not first(inputs, ("aspect_ratio", "ratio")):
        return inputs["size"], inputs["size"]
    for name in ("size", "resolution"):
        width, _, height = str(inputs.get(name)).lower().partition("x")
        if width.isdecimal() and height.isdecimal():
            return int(width), int(height)
    return None


def resolution(inputs: Inputs) -> int | None:
    """The lines of `480p`, `1080P`, `4k`."""
    text = str(inputs.get("resolution", "")).lower()
    if text in NAMED:
        return NAMED[text]
    return int(text[:-1]) if text.endswith("p") and text[:-1].isdecimal() else None


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def rate(output: int, inputs: Inputs, found: Measures) -> Check | None:
    """Frames a second: counted frames over their length."""
    asked = first(inputs, RATES)
    if not isinstance(asked, int | float) or not found.frames or not found.seconds:
        return None
    measured = found.frames / found.seconds
    agrees = close(measured, Decimal(str(asked)), FRAMES)
    return Check(output, "frames a second", f"{asked:g}", f"{measured:.2f}", agrees)


def sound(output: int, inputs: Inputs, found: Measures) -> Check | None:
    """Sound that was asked for is there; sound that nobody asked for harms nobody."""
    asked = first(inputs, SOUNDS)
    if not isinstance(asked, bool) or found.kind != "video":
        return None
    words = {True: "with sound", False: "silent"}
    return Check(output, "sound", words[asked], words[found.sound], found.sound or not asked)


def form(output: int, inputs: Inputs, found: Measures) -> Check | None:
    """The format or codec by its common name; any of the two that the file has will do."""
    asked = first(inputs, FORMATS)
    if not isinstance(asked, str) or not asked:
        return None
    plain = asked.lower().rpartition("/")[2]
    has = {found.codec.lower(), found.content_type.rpartition("/")[2]}
    agrees = ALIKE.get(plain, plain) in {ALIKE.get(name, name) for name in has}
    return Check(output, "format", asked, f"{found.content_type}, {found.codec}", agrees)


RULES: tuple[Callable[[int, Inputs, Measures], Check | None], ...] = (size, rate, sound, form)
