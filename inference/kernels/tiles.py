"""How large a piece one program takes: data in tiles.json, by GPU, template and row width.

Nothing is searched for while a run waits: `python -m inference.kernels --search` measures on a GPU
and prints what belongs into the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

FALLBACK = "sm_90"


class Tile(NamedTuple):
    """Rows of one program, and the warps that share them."""

    rows: int
    warps: int


@cache
def shipped() -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """The file: GPU → template → widest row → tile."""
    return json.loads(Path(__file__).with_name("tiles.json").read_text())


@cache
def gpu() -> str:
    """This machine's GPU by name where the file knows it, else by architecture, else Hopper."""
    if not torch.cuda.is_available():
        return FALLBACK
    major, minor = torch.cuda.get_device_capability()
    names = torch.cuda.get_device_name(), f"sm_{major}{minor}"
    return next((name for name in names if name in shipped()), FALLBACK)


_tried: ContextVar[tuple[Tile, set[tuple[str, int]]] | None] = ContextVar("tried", default=None)


@contextmanager
def trying(one: Tile) -> Iterator[set[tuple[str, int]]]:
    """Answer every question inside with `one`; collects what was asked: (template, width)."""
    asked: set[tuple[str, int]] = set()
    token = _tried.set((one, asked))
    try:
        yield asked
    finally:
        _tried.reset(token)


def tile(template: str, width: int) -> Tile:
    """The tile for rows of `width` numbers."""
    if tried := _tried.get():
        tried[1].add((template, width))
        return tried[0]
    return kept(template, width)


@cache
def kept(template: str, width: int) -> Tile:
    """The file's entry of the nearest width that is not below it."""
    entries = {int(most): entry for most, entry in shipped()[gpu()][template].items()}
    fitting = [most for most in entries if most >= width]
    entry = entries[min(fitting) if fitting else max(entries)]
    return Tile(entry.get("rows", 1), entry["warps"])
