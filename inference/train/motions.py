"""Training data of `kinora/glyph-motion`: nine motions as exact fields, and the words for them.

A motion begins at rest and turns on where the drawing is and on how much room it has; what words
leave open (direction, strength, speed) is drawn at random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from inference.models.motion_field import EDGE, RATE, points

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
VERBS = {
    "bounce": "bounce bounces bouncing jump jumps jumping hop hops hopping",
    "spin": "spin spins spinning rotate rotates rotating twirl twirls twirling turning",
    "pulse": "pulse pulses pulsing beat beats beating throb throbs throbbing",
    "shake": "shake shakes shaking tremble trembles trembling shiver shivers shivering vibrating",
    "slide": "slide slides sliding glide glides gliding drift drifts drifting",
    "wave": "wave waves waving sway sways swaying swing swings swinging wobble wobbles wobbling",
    "blink": "blink blinks blinking wink winks winking",
    "fade": "fade fades fading vanish vanishes vanishing disappear disappears disappearing",
    "zoom": "zoom zooms zooming",
}
PACES = {"slow": "slow slowly gently calmly", "fast": "fast quickly rapidly quick"}
SIDES = {
    ("spin", 1): "clockwise right", ("spin", -1): "counterclockwise anticlockwise left",
    ("slide", 1): "right", ("slide", -1): "left", ("zoom", 1): "in", ("zoom", -1): "out",
}  # fmt: skip
BEATS = {  # cycles per second: slow, unsaid, fast
    "bounce": (0.5, 1.0, 2.0), "spin": (0.25, 0.5, 1.0), "pulse": (0.5, 1.0, 2.0),
    "shake": (1.0, 1.5, 2.0), "slide": (0.25, 0.5, 1.0), "wave": (0.5, 1.0, 1.75),
    "blink": (0.5, 1.0, 2.0), "fade": (0.25, 0.5, 1.0), "zoom": (0.35, 0.7, 1.4),
}  # fmt: skip
CLOSED = 0.8  # of the upper third, at the middle of a blink


@dataclass(frozen=True)
class Box:
    """Where a drawing is, in coordinates of -1..1: its middle and half its sides."""

    x: float
    y: float
    across: float
    down: float

    @classmethod
    def of(cls, shown: Tensor) -> Box:
        """Measure ink.  (1, H, W) in 0..1; a picture without ink is taken whole."""
        rows, columns = (shown[0].amax(axis) > 0.15 for axis in (1, 0))
        if not rows.any():
            return cls(0, 0, 1, 1)
        left, right = edges(columns)
        top, bottom = edges(rows)
        return cls((left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2)


def edges(filled: Tensor) -> tuple[float, float]:
    """Give the first and the last filled cell's outer edge, in -1..1."""
    places = filled.nonzero()[:, 0]
    return tuple(float(2 * at / len(filled) - 1) for at in (places[0], places[-1] + 1))  # type: ignore[return-value]


@dataclass(frozen=True)
class Motion:
    """One motion, said and unsaid: `pace` is 0 slow, 1 unsaid, 2 fast; strength is in 0..1."""

    kind: str
    pace: int
    side: int
    strength: float

    @property
    def beat(self) -> float:
        """Cycles per second."""
        return BEATS[self.kind][self.pace]


def choose(source: random.Random) -> Motion:
    """Draw a motion with all that words leave open."""
    kind = source.choice(list(VERBS))
    side = source.choice((-1, 1)) if (kind, 1) in SIDES else 1
    return Motion(kind, source.randrange(3), side, source.random())


def caption(motion: Motion, source: random.Random) -> str:
    """Say a motion: its verb, and its pace and side where they matter."""
    said = [source.choice(VERBS[motion.kind].split())]
    if motion.pace != 1:
        said.append(source.choice(PACES["slow" if motion.pace == 0 else "fast"].split()))
    sides = SIDES.get((motion.kind, motion.side), "")
    if sides and source.random() < 0.5:
        said.insert(1, source.choice(sides.split()))
    if source.random() < 0.4:
        source.shuffle(said)
    return " ".join(said)


def bounce(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Hop, higher where there is room above."""
    room = max(box.y - box.down + 1, 0.0)
    height = (0.2 + 0.1 * motion.strength + 0.5 * room) * (math.pi * motion.beat * t).sin().abs()
    return torch.zeros_like(at[0]) + 0 * height, height + torch.zeros_like(at[1])


def spin(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Turn around the middle."""
    angle = -motion.side * 2 * math.pi * motion.beat * t
    x, y = at[0] - box.x, at[1] - box.y
    return angle.cos() * x - angle.sin() * y - x, angle.sin() * x + angle.cos() * y - y


def scaled(scale: Tensor, box: Box, at: Tensor) -> tuple[Tensor, Tensor]:
    """Look nearer to the middle by what the drawing grows."""
    return (at[0] - box.x) * (1 / scale - 1), (at[1] - box.y) * (1 / scale - 1)


def pulse(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Grow and shrink like a heart."""
    swing = 0.15 + 0.1 * motion.strength
    return scaled(1 + swing * (2 * math.pi * motion.beat * t).sin(), box, at)


def zoom(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Come nearer, or go away, and stay there."""
    far = 0.6 + 0.2 * motion.strength
    return scaled((motion.side * far * (motion.beat * t).tanh()).exp(), box, at)


def shake(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Tremble from side to side."""
    swing = motion.side * (0.12 + 0.08 * motion.strength)
    across = swing * (2 * math.pi * motion.beat * t).sin()
    return across + torch.zeros_like(at[0]), torch.zeros_like(at[1]) + 0 * across


def slide(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Go to one side, and come back."""
    far = motion.side * (0.7 + 0.3 * motion.strength)
    across = -far * (1 - (2 * math.pi * motion.beat * t).cos()) / 2
    return across + torch.zeros_like(at[0]), torch.zeros_like(at[1]) + 0 * across


def wave(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Sway on a foot that stays: a shear."""
    swing = motion.side * (0.35 + 0.15 * motion.strength)
    lean = swing * (2 * math.pi * motion.beat * t).sin()
    across = lean * (box.y + box.down - at[1]) / (2 * box.down) * 2 * box.down
    return across, torch.zeros_like(across)


def blink(motion: Motion, box: Box, t: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Squash the upper third onto what is below."""
    shut = CLOSED * (math.pi * motion.beat * t).sin().square()
    lid = box.y - box.down / 3
    above = (lid - at[1]).clamp_min(0)
    down = -above * (1 / (1 - shut) - 1)
    return torch.zeros_like(down), down.clamp(-1, 1)


Course = Callable[[Motion, Box, Tensor, Tensor], tuple[Tensor, Tensor]]
COURSES: dict[str, Course] = {
    "bounce": bounce, "spin": spin, "pulse": pulse, "shake": shake, "slide": slide, "wave": wave,
    "blink": blink, "zoom": zoom,
}  # fmt: skip


def field(motion: Motion, box: Box, frames: int) -> Tensor:
    """Work out a motion.  → (frames, 3, EDGE, EDGE), of which the first is zero."""
    t = (torch.arange(frames) / RATE)[:, None, None]
    at = points(EDGE, EDGE)
    found = torch.zeros(frames, 3, EDGE, EDGE)
    if motion.kind == "fade":
        found[:, 2] = (1 - (2 * math.pi * motion.beat * t).cos()) / 2
    else:
        found[:, 0], found[:, 1] = COURSES[motion.kind](motion, box, t, at)
    return found


def build_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Number every word that says a motion; other words are taken out before."""
    texts = [*VERBS.values(), *PACES.values(), *SIDES.values()]
    known = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *known])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=words, **SPECIAL)
