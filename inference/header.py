"""The header of a safetensors file, read and checked before a byte of its weights is believed.

A file is a length (8 bytes, little-endian), so much JSON, then tensors without gaps. What
does not hold is refused with the file, the tensor and the reason: nothing is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

LONGEST = 100_000_000  # bytes of JSON, as the format says
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class Invalid(ValueError):
    """A file that is not what it should be; says where and why."""


@dataclass(frozen=True)
class Held:
    """One tensor in a file.  start, end: bytes from the beginning of the file."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """All tensors of a file in the order of their bytes, and the words beside them."""

    tensors: tuple[Held, ...]
    words: dict[str, str]


def read(path: Path) -> Header:
    """Read and check a file's header.  Raises Invalid."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LONGEST, size - 8):
            raise Invalid(f"{path}: a header of {length} bytes does not fit into {size}")
        try:
            found = json.loads(file.read(length), object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{path}: the header is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"{path}: the header is no object")
    words = found.pop("__metadata__", {})
    tensors = [held(path, name, told, 8 + length) for name, told in found.items()]
    return Header(in_order(path, tensors, 8 + length, size), words_of(path, words))


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says a name twice: readers would differ about it."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def held(path: Path, name: str, told: Any, base: int) -> Held:
    """Check one tensor's description."""
    where = f"{path}: {name}"
    if not isinstance(told, dict) or told.keys() != {"dtype", "shape", "data_offsets"}:
        raise Invalid(f"{where} needs dtype, shape and data_offsets")
    dtype = DTYPES.get(str(told["dtype"]))
    if dtype is None:
        raise Invalid(f"{where} is {told['dtype']!r}; known are {', '.join(DTYPES)}")
    shape, offsets = whole(where, told["shape"]), whole(where, told["data_offsets"])
    if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * dtype.itemsize:
        raise Invalid(f"{where}: {list(offsets)} are not the bytes of {list(shape)} {dtype}")
    return Held(name, dtype, shape, base + offsets[0], base + offsets[1])


def whole(where: str, numbers: Any) -> tuple[int, ...]:
    """Check a list of counts."""
    right = isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**48 for n in numbers)
    if not right:
        raise Invalid(f"{where}: {numbers!r} are no counts")
    return tuple(numbers)


def in_order(path: Path, tensors: list[Held], begin: int, size: int) -> tuple[Held, ...]:
    """Check that tensors fill the file: no overlap, no gap, nothing behind them."""
    ordered = sorted(tensors, key=lambda one: (one.start, one.end))
    at = begin
    for one in ordered:
        if one.start != at:
            raise Invalid(f"{path}: {one.name} begins at byte {one.start}, expected {at}")
        at = one.end
    if at != size:
        raise Invalid(f"{path}: tensors end at byte {at}, the file at {size}")
    return tuple(ordered)


def words_of(path: Path, words: Any) -> dict[str, str]:
    """Check the words beside the tensors."""
    if isinstance(words, dict) and all(isinstance(word, str) for word in words.values()):
        return words
    raise Invalid(f"{path}: __metadata__ may hold words only")
