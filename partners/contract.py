"""What is said between the marketplace and a supplier: frozen records of plain values.

Standard library only; database models never cross this line, nor do prices. An error tells the
caller what to do: ask again (`Retry`), tell the customer (`Refused`), or look into it (`Broken`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Description:
    """What a supplier says of one model; a release is made from it.

    inputs: JSON Schema 2020-12. facts: published figures that quotes may use.
    """

    target: str
    title: str
    task: str
    summary: str
    about: str
    inputs: Mapping[str, Any]
    output_kind: str
    content_type: str
    queue: str
    timeout_seconds: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of a supplier. key: our name for it, and where the lab knows one its
    idempotency key. notice: where it may send word, or empty."""

    key: str
    target: str
    inputs: Mapping[str, Any]
    timeout_seconds: int = 60
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """The supplier's receipt of a job: enough to ask for it from another process."""

    job: str

    def as_json(self) -> dict[str, Any]:
        return {"job": self.job}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Ticket":
        return cls(str(found["job"]))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. preview: a data URI, or empty."""

    stage: str
    step: int = 0
    steps: int = 0
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One delivered file: an address to fetch it from, or its bytes where they came along."""

    content_type: str
    url: str = ""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the supplier says was used: unit slug → quantity. One witness of three."""

    quantities: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a job that delivered something."""

    outputs: tuple[Output, ...]
    usage: Usage


class SupplierError(Exception):
    """A job or a question about it came to nothing. message: fit for the customer."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Retry(SupplierError):
    """Not now: the same call may succeed after `after` seconds. Nothing is lost by asking again."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class Refused(SupplierError):
    """The supplier will not do this. generated: it found out after having made something."""

    def __init__(self, reason: str, *, generated: bool = False) -> None:
        super().__init__(reason)
        self.generated = generated


class Broken(SupplierError):
    """The job failed at the supplier, or its answer makes no sense."""


class Denied(Broken):
    """The lab does not take our secret: wrong, expired, or not allowed to do this."""


class Unknown(Broken):
    """A job was handed in and nobody can say whether the lab has it: never hand it in again."""
