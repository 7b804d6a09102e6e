"""Weights from safetensors files onto a device, through one staging arena.

The arena has two halves of host memory, pinned on a GPU: while the device copies one, the file is
read into the other. Headers are checked before (`header.py`); nothing is mapped and nothing is
unpickled. On a CPU it is the same way without streams.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from inference import header
from inference.header import Held, Invalid

HALF_BYTES = 64 * 2**20
STEM = "diffusion_pytorch_model"  # of the files of a module of diffusers

log = logging.getLogger("inference.loading")


class Unlike(Invalid):
    """Files whose weights are not those that a class has now; its library may convert them."""


@dataclass(eq=False)
class Half:
    """One half of the arena; `copied` is set when the device has read it."""

    bytes: Tensor
    copied: Any = None


@dataclass(eq=False)
class Arena:
    """Host memory that weights pass through, made at the first use and kept."""

    device: str
    half_bytes: int = HALF_BYTES
    halves: list[Half] = field(default_factory=list)
    turns: int = 0

    def next(self) -> Half:
        """Give the half that is free, once the device has read what was in it."""
        pin = self.device != "cpu"
        if not self.halves:
            made = (torch.empty(self.half_bytes, dtype=torch.uint8, pin_memory=pin) for _ in "ab")
            self.halves = [Half(part) for part in made]
        self.turns += 1
        half = self.halves[self.turns % 2]
        if half.copied is not None:
            half.copied.synchronize()
        return half

    def release(self, half: Half) -> None:
        """Note what has to be done before this half may be filled again."""
        if self.device != "cpu":
            half.copied = torch.cuda.Event()
            half.copied.record()


def read(path: Path, arena: Arena) -> dict[str, Tensor]:
    """Read all tensors of a file onto the arena's device.  Raises Invalid."""
    tensors = header.read(path).tensors
    made = {
        one.name: torch.empty(one.shape, dtype=one.dtype, device=arena.device) for one in tensors
    }
    with path.open("rb", buffering=0) as file:
        for start, half, length in pieces(file, path, tensors, arena):
            for one in tensors:
                first, last = max(one.start, start), min(one.end, start + length)
                if first < last:
                    flat = made[one.name].reshape(-1).view(torch.uint8)
                    piece = half.bytes[first - start : last - start]
                    flat[first - one.start : last - one.start].copy_(piece, non_blocking=True)
            arena.release(half)
    if arena.device != "cpu":
        torch.cuda.synchronize(arena.device)
    return made


def pieces(
    file: Any, path: Path, tensors: tuple[Held, ...], arena: Arena
) -> Iterator[tuple[int, Half, int]]:
    """Read a file's weights piece by piece.  → first byte, the half it lies in, length."""
    at, end = (tensors[0].start, tensors[-1].end) if tensors else (0, 0)
    file.seek(at)
    while at < end:
        half = arena.next()
        length = file.readinto(half.bytes.numpy()[: min(arena.half_bytes, end - at)])
        if not length:
            raise Invalid(f"{path} ended at byte {at} while it was read")
        yield at, half, length
        at += length


def files_of(folder: Path) -> list[Path]:
    """List the weight files that diffusers would read, none of them outside the folder.

    Raises Unlike where they are called otherwise.
    """
    index = folder / f"{STEM}.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        names = {f"{STEM}.safetensors"}
    files = [folder / Path(name).name for name in sorted(names)]
    if missing := [path.name for path in files if not path.is_file()]:
        raise Unlike(f"{folder} lacks {', '.join(missing)}")
    return files


def fill(module: nn.Module, paths: Iterable[Path], arena: Arena, dtype: torch.dtype) -> None:
    """Give a module made without weights those of its files.

    What the class keeps in float32 stays so; other floating weights become `dtype`. Raises Invalid,
    Unlike where names or shapes are not those of the module: then nothing was read.
    """
    wide = set(getattr(module, "_keep_in_fp32_modules", None) or ())
    wanted = {name: tuple(one.shape) for name, one in module.state_dict().items()}
    files = list(paths)
    shapes = {one.name: one.shape for path in files for one in header.read(path).tensors}
    if wrong := sorted(name for name in wanted | shapes if wanted.get(name) != shapes.get(name)):
        raise Unlike(f"{len(wrong)} weights are not those of the class, {wrong[0]} among them")
    state = {name: one for path in files for name, one in read(path, arena).items()}
    for name, one in state.items():
        kept = torch.float32 if wide & set(name.split(".")) else dtype
        state[name] = one.to(kept) if one.is_floating_point() else one
    module.load_state_dict(state, strict=True, assign=True)


def hollow(kind: Any, folder: Path) -> nn.Module:
    """Make a module of diffusers without its weights."""
    config = kind.load_config(folder, local_files_only=True)
    with init_empty_weights(include_buffers=False):
        module: nn.Module = kind.from_config(config)
    return module


def diffusers_module(kind: Any, folder: Path, arena: Arena, dtype: torch.dtype) -> nn.Module:
    """Load a module of diffusers, ready to infer.  Raises Invalid, Unlike."""
    module = hollow(kind, folder)
    fill(module, files_of(folder), arena, dtype)
    return module.eval().requires_grad_(False).to(arena.device)


@cache
def arena_of(device: str) -> Arena:
    """Keep one arena per device."""
    return Arena(device)


def module(kind: Any, folder: Path, device: str, dtype: torch.dtype) -> nn.Module:
    """Load a module of diffusers; one of old names is left to the library.  Raises Invalid."""
    try:
        return diffusers_module(kind, folder, arena_of(device), dtype)
    except Unlike as error:
        log.info("%s is left to diffusers: %s", folder, error)
    found: Any = kind.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, torch_dtype=dtype
    )
    return found.eval().requires_grad_(False).to(device)
