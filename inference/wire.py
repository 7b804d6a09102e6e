"""The words between the control plane and the GPU side: frozen records with a JSON round trip.

Standard library only, so that the control plane may import it without torch. `describe` reads what
a model says about itself in its kinora.json, on our shelf or on one that KINORA_WEIGHTS names.
"""

from __future__ import annotations

import json
import os
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Self

WEIGHTS = Path(__file__).parent / "weights"

State = Literal["succeeded", "failed", "cancelled", "lost"]


class Record:
    """A frozen dataclass that knows its JSON form; unknown keys are ignored, missing ones raise."""

    def to_json(self) -> dict[str, Any]:
        """Give the record as plain JSON values."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Build the record from plain JSON values.  Raises KeyError, TypeError."""
        hints = typing.get_type_hints(cls)
        known = {
            item.name: _read(hints[item.name], found[item.name])
            for item in fields(cls)  # type: ignore[arg-type]
            if item.name in found
        }
        return cls(**known)


def _read(hint: Any, value: Any) -> Any:
    """Turn one JSON value into what the annotation says."""
    if typing.get_origin(hint) is types.UnionType:
        inner = next(part for part in typing.get_args(hint) if part is not type(None))
        return None if value is None else _read(inner, value)
    if typing.get_origin(hint) is tuple:
        return tuple(_read(typing.get_args(hint)[0], item) for item in value)
    if is_dataclass(hint) and isinstance(value, dict):
        return typing.cast("type[Record]", hint).from_json(value)
    return value


@dataclass(frozen=True)
class Upload(Record):
    """Where the bytes of output `index` are to be PUT."""

    index: int
    url: str
    content_type: str


@dataclass(frozen=True)
class Job(Record):
    """One attempt of a run, as it is claimed.  `attempt` is the fence of every later write.

    session: where a realtime session is spoken of; empty for a plain run.
    """

    run: str
    attempt: int
    release: str
    target: str
    inputs: dict[str, Any]
    timeout_seconds: float = 60
    lease_seconds: float = 15
    uploads: tuple[Upload, ...] = ()
    session: str = ""


@dataclass(frozen=True)
class Progress(Record):
    """How far a run is; `preview` is a data URI or None."""

    stage: str
    step: int
    steps: int
    preview: str | None = None


@dataclass(frozen=True)
class Output(Record):
    """One delivered file: its place, its type, its length, the hash of its bytes."""

    index: int
    content_type: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Prompt(Record):
    """What one frame of a session is to show; numbers grow."""

    number: int
    inputs: dict[str, Any]


@dataclass(frozen=True)
class Frame(Record):
    """A drawn frame: its files' types and lengths, which follow one another, or why there is none.

    seconds: from the prompt's arrival at the worker until it was drawn and encoded.
    """

    number: int
    seconds: float
    content_type: str = ""
    lengths: tuple[int, ...] = ()
    error: Failure | None = None


@dataclass(frozen=True)
class Word(Record):
    """What a worker says at the door of its session.  seconds: by its own clock, since it began.

    busy: it wants no prompt now, and no waiting.  leaving: it serves the session no more.
    """

    run: str
    attempt: int
    seconds: float
    busy: bool = False
    leaving: bool = False
    frame: Frame | None = None


@dataclass(frozen=True)
class Said(Record):
    """What the door answers: the next prompt, or why the session is over, or neither yet."""

    end: str = ""
    prompt: Prompt | None = None


@dataclass(frozen=True)
class Plan(Record):
    """What computed a run: `eager`, `templates`, `traced`, `… in part`, and how near to eager.

    exactness: E0 the same bits, E1 rounded otherwise, E2 approximate.
    """

    name: str
    exactness: str


@dataclass(frozen=True)
class Usage(Record):
    """Measured facts.  `gpu_seconds` has six decimals and excludes loading and queueing."""

    gpu_seconds: float = 0.0
    outputs: int = 0
    steps: int = 0
    peak_bytes: int = 0
    plan: Plan | None = None


@dataclass(frozen=True)
class Failure(Record):
    """Why a run did not succeed; `retry` says whether another attempt may."""

    code: str
    message: str
    retry: bool = False


@dataclass(frozen=True)
class Completion(Record):
    """The end of an attempt."""

    run: str
    attempt: int
    state: State
    outputs: tuple[Output, ...] = ()
    usage: Usage = field(default_factory=Usage)
    error: Failure | None = None


def shelves() -> list[Path]:
    """List the folders that hold models: ours, then those that KINORA_WEIGHTS names."""
    told = os.environ.get("KINORA_WEIGHTS", "").split(os.pathsep)
    return [WEIGHTS, *(Path(place) for place in told if place)]


def shelf(*places: Path) -> dict[str, Path]:
    """Find every model by name; of two with one name the first is meant.  None given: everywhere.

    A model is called as its kinora.json says, else as its folder.
    """
    found: dict[str, Path] = {}
    for place in places or shelves():
        for path in sorted(place.glob("*/kinora.json")):
            told = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault(told.get("slug", path.parent.name), path.parent)
    return found


def describe(slug: str, *places: Path) -> dict[str, Any]:
    """Read what a model says about itself: title, input schema, output, queue, facts, examples.

    places: where to look; none given: everywhere. Raises KeyError where no such model is held.
    """
    path = shelf(*places)[slug] / "kinora.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def promised(about: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Name the type of a run's outputs: the model's own, unless `format` asks for another."""
    formats = about.get("facts", {}).get("formats", {})
    return str(formats.get(inputs.get("format"), about["output"]["content_type"]))
