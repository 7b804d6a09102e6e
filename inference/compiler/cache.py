"""Compiled programs on disk: a worker that starts again neither captures nor matches again.

The key is everything that the result depends on: the module's configuration, the inputs' shapes,
the device, versions, and the source of compiler and kernels. There is no invalidation but the key.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

INFERENCE = Path(__file__).resolve().parents[1]


@cache
def source_hash() -> str:
    """Hash the source that decides what a program becomes."""
    digest = hashlib.sha256()
    for folder in ("compiler", "kernels"):
        for file in sorted((INFERENCE / folder).rglob("*.py")):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def described(value: Any) -> Any:
    """Describe an input: a tensor by dtype, shape and strides, all else by itself."""
    if isinstance(value, Tensor):
        return [str(value.dtype), list(value.shape), list(value.stride()), value.device.type]
    if isinstance(value, dict):
        return {name: described(one) for name, one in sorted(value.items())}
    return [described(one) for one in value] if isinstance(value, list | tuple) else repr(value)


def device_name() -> str:
    """Name the GPU, or say that there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def version(package: str) -> str:
    """Give an installed version, or ""."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def key(config: dict[str, Any], inputs: dict[str, Any], dynamic: Any = None) -> str:
    """Hash all that a compiled program depends on."""
    facts = {
        "config": {name: repr(one) for name, one in config.items()},
        "inputs": described(inputs),
        "dynamic": repr(dynamic),
        "device": device_name(),
        "versions": {name: version(name) for name in ("torch", "triton", "diffusers")},
        "source": source_hash(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class Cache:
    """A folder of programs; a file appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, making it."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> tuple[ExportedProgram, dict[str, Any]] | None:
        """Read a program and what is known of it."""
        path = self.folder / f"{name}.pt2"
        if not path.exists():
            return None
        extra = {"plan.json": ""}
        program = torch.export.load(path, extra_files=extra)
        return program, json.loads(extra["plan.json"])

    def put(self, name: str, program: ExportedProgram, plan: dict[str, Any]) -> None:
        """Write a program and its plan."""
        path = self.folder / f".{os.getpid()}-{name}.pt2"
        torch.export.save(program, path, extra_files={"plan.json": json.dumps(plan)})
        path.rename(self.folder / f"{name}.pt2")
