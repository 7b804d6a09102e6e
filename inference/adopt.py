"""Puts a diffusers folder on the shelf: checks it, and writes the kinora.json that describes it.

Reads configurations and the sizes of files, never weights and never code.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from inference import adapting, header, models, ulysses
from inference.header import Invalid
from inference.lora import Adapters, Unfit
from inference.models import folder as folders
from inference.models import schema
from inference.models.family import Family
from inference.models.folder import WIDE_BYTES, Unsuitable
from inference.ulysses import Indivisible

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")


@dataclass(frozen=True)
class Adoption:
    """What an operator may say of a model.  empty: as the family or the folder says."""

    family: str
    folder: Path
    slug: str = ""
    title: str = ""
    queue: str = "gpu.std"
    devices: int = 1

    def name(self) -> str:
        """Give what the model is called.  Raises Unsuitable."""
        slug = self.slug or re.sub(r"[^a-z0-9-]+", "-", self.folder.resolve().name.lower())
        if not SLUG.fullmatch(slug):
            raise Unsuitable(
                f"{slug!r} is no name: use a-z, 0-9 and -, at most 50; say one with --slug"
            )
        return slug


def families() -> list[str]:
    """Name the families that read a diffusers folder."""
    return sorted(slug for slug in models.REGISTRY if issubclass(models.find(slug), Family))


def about(adoption: Adoption) -> dict[str, Any]:
    """Say of a folder what its kinora.json is to hold.  Raises Unsuitable."""
    family = models.find(adoption.family)
    if not issubclass(family, Family):
        raise Unsuitable(f"{adoption.family} reads no diffusers folder")
    if wrong := folders.complaints(adoption.folder, family.PARTS):
        raise Unsuitable("\n".join(wrong))
    sizes = family.SIZES.of(folders.configs(adoption.folder))
    inputs, room = sizes.inputs(), None
    if files := adapting.files_of(adoption.folder):
        inputs["properties"]["loras"] = schema.loras(list(files), adapting.MOST)
        room = fitting(folders.hollow(adoption.folder, family.PARTS), files)
    if adoption.devices > 1:
        check_spread(family, adoption, bool(room))
    return {
        "slug": adoption.name(),
        "family": adoption.family,
        "title": adoption.title or family.TITLE,
        "task": family.task(sizes),
        "summary": family.SUMMARY,
        "inputs": inputs,
        "output": family.OUTPUT,
        "queue": adoption.queue,
        "timeout_seconds": family.TIMEOUT,
        "facts": facts(adoption.folder, family, sizes, room) | {"devices": adoption.devices},
        "examples": [],
    }


def fitting(networks: list[nn.Module], files: dict[str, Path]) -> Adapters:
    """Check all adapters against networks without weights.  → the room.  Raises Unsuitable."""
    room = Adapters(*networks, most=adapting.room(list(files.values())))
    wrong = []
    for name, path in files.items():
        try:
            if not SLUG.fullmatch(name):
                raise Unfit(f"{name!r} is no name: use a-z, 0-9 and -, at most 50")  # noqa: TRY301
            room.check(header.read(path).tensors)
        except (Unfit, Invalid) as error:
            wrong.append(f"{adapting.FOLDER}/{path.name}: {error}")
    if wrong:
        raise Unsuitable("\n".join(wrong))
    return room


def check_spread(family: type[Family[Any]], adoption: Adoption, adapted: bool) -> None:
    """Check that a model can be spread over so many devices.  Raises Unsuitable."""
    if not family.SPREADS:
        raise Unsuitable(f"{adoption.family} runs on one device")
    if adapted:
        raise Unsuitable("a model with adapters runs on one device")
    for network in folders.hollow(adoption.folder, family.PARTS):
        try:
            ulysses.check(network, adoption.devices)
        except Indivisible as error:
            raise Unsuitable(str(error)) from None


def facts(
    folder: Path, family: type[Family[Any]], sizes: Any, room: Adapters | None
) -> dict[str, Any]:
    """Say what can be known without loading.  tokens: what the network computes at usual inputs.

    bytes: on a GPU; cpu_bytes: on a CPU. Both with the room for adapters, if any.
    """
    beside = room.bytes if room else 0  # in float32
    usual = schema.defaults(sizes.inputs())
    held = folders.index(folder)
    return {
        "bytes": folders.weight_bytes(folder, family.PARTS) + beside // 2,
        "cpu_bytes": folders.weight_bytes(folder, family.PARTS, WIDE_BYTES) + beside,
        "steps": usual["steps"],
        "tokens": sizes.tokens(usual),
        "forwards_per_step": sizes.forwards(usual),
        "classes": {name: held[name] for name in family.PARTS if name in held},
    }


def adopt(adoption: Adoption) -> Path:
    """Write the folder's kinora.json anew.  → its path.  Raises Unsuitable, OSError."""
    path = adoption.folder / "kinora.json"
    text = json.dumps(about(adoption), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path
