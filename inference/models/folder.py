"""Reads a diffusers folder: safetensors and configurations, never code and never a pickle.

A family says which parts it wants and of which class; a folder that names other classes, lacks a
part, or brings code of its own is refused before anything of it is read. Nothing is fetched.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from inference import header, loading

Module = Any  # diffusers and transformers ship no usable types
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
TOKENIZER = "tokenizer.json"
BYTES, WIDE_BYTES = 2, 4  # of a weight in bfloat16 and in float32
DENOISERS = ("transformer", "unet", "transformer_2")
WEIGHTLESS = ("Tokenizer", "Scheduler", "Processor")  # in the names of their classes


class Unsuitable(Exception):
    """A folder that cannot be served; says everything that is wrong with it."""


@dataclass(frozen=True)
class Part:
    """What a family wants under one name: a class, or any of some that behave alike.

    wide: kept in float32 on every device. needed: a folder may lack it where this is False.
    """

    kinds: str  # "library.Class", or more of them; "Name=library.Class" loads another than named
    wide: bool = False
    needed: bool = True

    @property
    def known(self) -> dict[str, str]:
        """What is loaded for each name that a folder may say."""
        pairs = [kind.rpartition("=") for kind in self.kinds.split()]
        return {name or kind.rpartition(".")[2]: kind for name, _, kind in pairs}

    def loads(self, name: str) -> str | None:
        """Say which class is loaded where a folder says `name`; tokenizers have a Fast name too."""
        return self.known.get(name) or self.known.get(name.removesuffix("Fast"))


Parts = Mapping[str, Part]


def table(path: Path) -> dict[str, Any]:
    """Read a JSON object; one that is not there is empty.  Raises Unsuitable."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unsuitable(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unsuitable(f"{path} holds no JSON object")
    return found


def index(folder: Path) -> dict[str, str]:
    """Name the class of each part that a folder holds."""
    found = table(folder / "model_index.json")
    pairs = {name: pair for name, pair in found.items() if isinstance(pair, list)}
    return {name: str(pair[1]) for name, pair in pairs.items() if len(pair) == 2 and pair[1]}


def configs(folder: Path) -> dict[str, dict[str, Any]]:
    """Read every part's configuration, and the pipeline's own under the empty name."""
    names = ("config.json", "scheduler_config.json", "tokenizer_config.json")
    found = {"": table(folder / "model_index.json")}
    for part in index(folder):
        paths = [folder / part / name for name in names]
        found[part] = next((table(path) for path in paths if path.is_file()), {})
    return found


def complaints(folder: Path, parts: Parts) -> list[str]:
    """Say what keeps a folder from being served; nothing where all is well.  Reads no weights."""
    if not (folder / "model_index.json").is_file():
        return [f"{folder} holds no model_index.json: it is no diffusers folder"]
    held = index(folder)
    found = own_code(folder)
    for name, part in parts.items():
        if name in held:
            found += complaints_of(folder / name, part, held[name])
        elif part.needed:
            found.append(f"{name} is missing: model_index.json names no {' or '.join(part.known)}")
    return found


def own_code(folder: Path) -> list[str]:
    """Name what asks for code that came with the weights."""
    scripts = [f"{path.relative_to(folder)} is code" for path in sorted(folder.rglob("*.py"))]
    maps = [
        f"{path.relative_to(folder)} asks for code by auto_map"
        for path in sorted(folder.rglob("*.json"))
        if path.name.endswith("config.json") and "auto_map" in table(path)
    ]
    pipeline = table(folder / "model_index.json").get("_class_name")
    custom = [] if isinstance(pipeline, str) else ["model_index.json asks for a custom pipeline"]
    return [f"{told}; code from a model's folder is never run" for told in scripts + maps + custom]


def complaints_of(place: Path, part: Part, name: str) -> list[str]:
    """Say what is wrong with one part."""
    kind = part.loads(name)
    if kind is None:
        return [f"{place.name} is a {name}, not a {' or '.join(part.known)}"]
    if not place.is_dir():
        return [f"{place.name} is missing: there is no folder {place}"]
    if "Tokenizer" in kind:
        return [] if (place / TOKENIZER).is_file() else [f"{place.name} holds no {TOKENIZER}"]
    return [] if any(word in kind for word in WEIGHTLESS) else missing_weights(place)


def missing_weights(place: Path) -> list[str]:
    """Name the safetensors that a part lacks."""
    held = {path.name for path in place.glob("*.safetensors")}
    if wanted := {path.name for path in weights(place)}:
        return [f"{place.name} lacks {name}" for name in sorted(wanted - held)]
    others = sorted(held | {path.name for path in place.iterdir() if path.suffix in PICKLES})
    if not others:
        return [f"{place.name} holds no safetensors"]
    why = "they are a variant; name them without it" if held else "pickles are never read"
    return [f"{place.name} holds no safetensors to read, only {', '.join(others)}; {why}"]


def weights(place: Path) -> list[Path]:
    """List the files of a part's weights: those that its index names, else those of plain names.

    A variant, as model.fp16.safetensors, is not read.
    """
    named = {
        name
        for path in place.glob("*.safetensors.index.json")
        for name in table(path).get("weight_map", {}).values()
    }
    plain = {path.name for path in place.glob("*.safetensors") if "." not in path.stem}
    return [place / Path(name).name for name in sorted(named or plain)]  # none outside the folder


def weight_bytes(folder: Path, parts: Parts, width: int = BYTES) -> int:
    """Count what all parts take, from the headers of their files.  Raises Invalid.

    width: bytes of a weight that no class keeps in float32: two on a GPU, four on a CPU.
    """
    held = index(folder)
    total = 0
    for name, part in parts.items():
        wide = kept_wide(part, held.get(name, ""))
        for path in weights(folder / name):
            for one in header.read(path).tensors:
                kept = part.wide or not wide.isdisjoint(one.name.split("."))
                own = one.dtype.itemsize if not one.dtype.is_floating_point else width
                total += prod(one.shape) * (WIDE_BYTES if kept else own)
    return total


def kept_wide(part: Part, name: str) -> set[str]:
    """Name the modules that a part's class keeps in float32 when it is loaded in bfloat16."""
    kind = part.loads(name)
    if kind is None or any(word in kind for word in WEIGHTLESS):
        return set()
    strict = "" if kind.startswith("diffusers.") else "_strict"
    return set(getattr(class_of(kind), f"_keep_in_fp32_modules{strict}", None) or ())


def class_of(kind: str) -> Any:
    """Import "library.Class"."""
    library, _, own = kind.partition(".")
    return getattr(importlib.import_module(library), own)


def hollow(folder: Path, parts: Parts) -> list[torch.nn.Module]:
    """Make a folder's denoisers without their weights: what adapters have to fit."""
    held = index(folder)
    names = [name for name in DENOISERS if name in parts and name in held]
    kinds = [(name, parts[name].loads(held[name])) for name in names]
    return [loading.hollow(class_of(kind), folder / name) for name, kind in kinds if kind]


def read(folder: Path, parts: Parts, device: str, dtype: torch.dtype) -> dict[str, Module]:
    """Load all parts, those that a class keeps in float32 in float32.  Raises Unsuitable."""
    if wrong := complaints(folder, parts):
        raise Unsuitable("; ".join(wrong))
    held = index(folder)
    return {
        name: part_of(folder / name, part, held[name], device, dtype)
        for name, part in parts.items()
        if name in held
    }


def denoisers(folder: Path, parts: Parts, device: str, dtype: torch.dtype) -> list[torch.nn.Module]:
    """Load a folder's denoisers alone.  Raises Unsuitable, Invalid."""
    held = index(folder)
    names = [name for name in DENOISERS if name in parts and name in held]
    return [part_of(folder / name, parts[name], held[name], device, dtype) for name in names]


def part_of(place: Path, part: Part, name: str, device: str, dtype: torch.dtype) -> Module:
    """Load one part from its folder.  Raises Unsuitable, Invalid."""
    kind = part.loads(name)
    if kind is None:
        raise Unsuitable(f"{place.name} is a {name}")
    wanted = class_of(kind)
    if any(word in kind for word in WEIGHTLESS):
        return wanted.from_pretrained(place, local_files_only=True)
    chosen = torch.float32 if part.wide else dtype
    if kind.startswith("diffusers."):
        return loading.module(wanted, place, device, chosen)
    for path in weights(place):
        header.read(path)  # raises Invalid
    module = wanted.from_pretrained(
        place, use_safetensors=True, local_files_only=True, dtype=chosen
    )
    return module.eval().requires_grad_(False).to(device)
