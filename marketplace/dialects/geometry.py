"""Sizes as callers say them, and as a release takes them, without loss.

Callers: width and height, "1280x720", {"width": 1280, "height": 720}, a named format, an aspect
ratio, a resolution such as "720p". Releases: any of these. No size is rounded to a near one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.errors import InvalidInput

WORDS = frozenset(
    {"width", "height", "size", "image_size", "video_size", "aspect_ratio", "ratio", "resolution"}
)
FORMATS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
LEFT_TO_US = ("auto", "match_input_image")
WIDE = Fraction(16, 9)
Properties = Mapping[str, Any]
Inputs = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; None where it was not. word: the caller's, for refusals."""

    word: str
    sides: tuple[int, int] | None = None
    ratio: Fraction | None = None
    lines: str | None = None


def taken(properties: Properties, said: Mapping[str, Any]) -> tuple[Inputs, dict[str, str]]:
    """The release's inputs for the size that was said, and its names → the caller's words.

    Raises InvalidInput naming the caller's word and the sizes that the release has.
    """
    spoken = {word: value for word, value in said.items() if word in WORDS}
    own = {word: value for word, value in spoken.items() if fits(properties.get(word), value)}
    if len(own) == len(spoken):
        return dict(own), {word: word for word in own}
    wish = read(spoken)
    if wish is None:
        return {}, {}
    for inputs in ways(properties, wish):
        return inputs, dict.fromkeys(inputs, wish.word)
    allowed = "; ".join(offered(properties)) or "no size: its pictures have one"
    raise InvalidInput(
        f"{wish.word} {said[wish.word]!r} cannot be had here. It takes {allowed}.", param=wish.word
    )


def fits(declared: Mapping[str, Any] | None, value: Any) -> bool:
    """Whether the release itself takes this word with this kind of value."""
    if declared is None or value in LEFT_TO_US:
        return False
    if "enum" in declared:
        return value in declared["enum"]
    kinds = {"integer": int, "number": int | float, "string": str}
    return isinstance(value, kinds.get(declared.get("type", ""), object))


# ── reading what was said ─────────────────────────────────────────────────────────────────────


def read(spoken: Mapping[str, Any]) -> Wish | None:
    """The wish; None where it is left to the release. Raises InvalidInput for nonsense."""
    if "width" in spoken or "height" in spoken:
        return Wish("width" if "width" in spoken else "height", sides=pair(spoken))
    for word in ("size", "image_size", "video_size"):
        if (value := spoken.get(word)) not in (None, *LEFT_TO_US):
            return Wish(word, sides=sides_of(word, value))
    return shape_of(spoken)


def shape_of(spoken: Mapping[str, Any]) -> Wish | None:
    """By aspect ratio and resolution."""
    ratio = lines = None
    words = []
    for word in ("aspect_ratio", "ratio"):
        if (value := spoken.get(word)) not in (None, *LEFT_TO_US):
            ratio, words = ratio_of(word, value), [word]
    if (value := spoken.get("resolution")) not in (None, *LEFT_TO_US):
        lines = f"{value}p" if isinstance(value, int) else str(value)
        words.insert(0, "resolution")
    return Wish(words[0], ratio=ratio, lines=lines) if words else None


def pair(spoken: Mapping[str, Any]) -> tuple[int, int]:
    for word in ("width", "height"):
        if word not in spoken:
            raise InvalidInput(f"{word} is missing beside the other side.", param=word)
    return whole("width", spoken["width"]), whole("height", spoken["height"])


def whole(word: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 100_000:
        raise InvalidInput(f"{word} must be a whole number of pixels.", param=word)
    return value


def sides_of(word: str, value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        return whole(f"{word}.width", value.get("width")), whole(
            f"{word}.height", value.get("height")
        )
    if isinstance(value, int):
        return whole(word, value), whole(word, value)
    if found := FORMATS.get(str(value)):
        return found
    first, _, second = str(value).lower().replace("*", "x").partition("x")
    try:
        return whole(word, first), whole(word, second or first)
    except InvalidInput:
        raise InvalidInput(
            f'{word} must be width and height in pixels, such as "1024x1024".', param=word
        ) from None


def ratio_of(word: str, value: Any) -> Fraction:
    first, _, second = str(value).partition(":")
    if not (first.isdecimal() and second.isdecimal() and len(str(value)) < 12):
        raise InvalidInput(f'{word} must be such as "16:9".', param=word)
    if not int(first) or not int(second):
        raise InvalidInput(f"{word} must be of numbers above 0.", param=word)
    return Fraction(int(first), int(second))


# ── saying it to a release ────────────────────────────────────────────────────────────────────


def ways(properties: Properties, wish: Wish) -> Iterator[Inputs]:
    """The ways to ask this release for exactly this."""
    for inputs in choices(properties):
        if meets(described(properties, inputs), wish):
            yield inputs
    if wish.sides and {"width", "height"} <= properties.keys():
        yield {"width": wish.sides[0], "height": wish.sides[1]}


def choices(properties: Properties) -> Iterator[Inputs]:
    """All that can be chosen from lists: sizes, or resolutions with ratios. Defaults first."""
    for size in listed(properties, "size"):
        yield {"size": size}
    for lines in listed(properties, "resolution") or [None]:
        for ratio in listed(properties, "aspect_ratio") or [None]:
            both = {"resolution": lines, "aspect_ratio": ratio}
            if chosen := {name: value for name, value in both.items() if value is not None}:
                yield chosen


def listed(properties: Properties, name: str) -> list[Any]:
    declared = properties.get(name, {})
    values = list(declared.get("enum", []))
    default = declared.get("default")
    return sorted(values, key=lambda value: value != default)


def described(properties: Properties, inputs: Inputs) -> Wish:
    """What a choice gives. A release that names lines alone has one shape, 16:9 if it says none."""
    if "size" in inputs:
        return Wish("size", sides=sides_of("size", inputs["size"]))
    lines = inputs.get("resolution")
    shape = inputs.get("aspect_ratio") or properties.get("resolution", {}).get("x-aspect-ratio")
    ratio = ratio_of("aspect_ratio", shape) if shape else WIDE
    return Wish("resolution", sides=from_lines(lines, ratio), ratio=ratio, lines=lines)


def from_lines(lines: Any, ratio: Fraction) -> tuple[int, int] | None:
    """ "720p" at 16:9 is 1280 × 720; lines count the shorter side, sides are even."""
    text = str(lines or "").removesuffix("p")
    if not text.isdecimal():
        return None
    short = int(text)
    long = 2 * round(short * max(ratio, 1 / ratio) / 2)
    return (long, short) if ratio >= 1 else (short, long)


def meets(given: Wish, wish: Wish) -> bool:
    if wish.sides:
        return given.sides == wish.sides
    ratio = given.ratio or (Fraction(*given.sides) if given.sides else None)
    lines = given.lines or (f"{min(given.sides)}p" if given.sides else None)
    return wish.ratio in (None, ratio) and wish.lines in (None, lines)


def offered(properties: Properties) -> Iterator[str]:
    """The release's own words and values, for a refusal."""
    for name in ("size", "resolution", "aspect_ratio"):
        if values := properties.get(name, {}).get("enum"):
            yield f"{name} {', '.join(str(value) for value in values)}"
    for name in ("width", "height"):
        if declared := properties.get(name):
            yield f"{name} {declared.get('minimum', 1)} to {declared.get('maximum', '…')}"
