"""Compile kernels for a GPU that is not here, and look at what came out.

Arguments may lie on the meta device: a kernel is specialised on types, on steps that are one or
multiples of 16, and on constants, exactly as a launch would specialise it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.kernels.language import Launch

HOPPER = ("cuda", 90, 32)
SHARED_LIMIT = 227 * 1024  # bytes of one block on sm_90
ALIGNED = [["tt.divisibility", 16]]
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16",
         torch.float8_e4m3fn: "fp8e4nv"}  # fmt: skip


@dataclass(frozen=True)
class Compiled:
    """A kernel as sm_90 runs it: bytes, registers of a thread, and its accesses by PTX word."""

    name: str
    shared: int
    registers: int
    stack: int
    instructions: int
    accesses: Counter[str]

    def spilled(self) -> bool:
        """Whether registers did not suffice."""
        return self.stack > 0

    def wide(self, way: str) -> bool:
        """Whether memory is read ("ld") or written ("st") 128 bits at a time."""
        return bool(self.accesses[f"{way}.global.v4.b32"])


def specialised(value: Any, path: tuple[int, ...], found: dict[str, Any]) -> Any:
    """Type of one argument; what a launch would fix goes into `found`."""
    if isinstance(value, tuple):
        return tuple(specialised(one, (*path, i), found) for i, one in enumerate(value))
    if isinstance(value, Tensor):
        found["attrs"][path] = ALIGNED
        return "*" + NAMES[value.dtype]
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, int) and not isinstance(value, bool) and value != 1:
        if value % 16 == 0:
            found["attrs"][path] = ALIGNED
        return "i32" if abs(value) < 2**31 else "i64"
    found["constants"][path] = value
    return "constexpr"


def source(launch: Launch) -> Any:
    """What Triton compiles for a launch."""
    from triton.compiler import ASTSource

    found: dict[str, Any] = {"attrs": {}, "constants": {}}
    signature: dict[str, Any] = {}
    for i, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name] = "constexpr"
            found["constants"][i,] = value
        elif parameter.do_not_specialize and isinstance(value, int):
            signature[parameter.name] = "i32"
        else:
            signature[parameter.name] = specialised(value, (i,), found)
    return ASTSource(launch.kernel, signature, found["constants"], found["attrs"])


def compiled(launch: Launch) -> Compiled:
    """Compile one launch for an sm_90 GPU; no GPU is needed."""
    import triton
    from triton.backends.compiler import GPUTarget

    options = {"num_warps": launch.warps, "enable_fp_fusion": False}
    kernel = triton.compile(source(launch), target=GPUTarget(*HOPPER), options=options)
    usage = inspected(kernel.asm["cubin"], "-res-usage")
    code = inspected(kernel.asm["cubin"], "-sass")
    return Compiled(
        name=f"{launch.kernel.fn.__module__.rpartition('.')[2]}.{launch.kernel.fn.__name__}",
        shared=kernel.metadata.shared,
        registers=int(re.findall(r"REG:(\d+)", usage)[-1]),
        stack=int(re.findall(r"STACK:(\d+)", usage)[-1]),
        instructions=len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", code, re.MULTILINE)),
        accesses=Counter(re.findall(r"(?:ld|st)\.global[.\w]*", kernel.asm["ptx"])),
    )


def inspected(cubin: bytes, what: str) -> str:
    """Say what NVIDIA's own tool, which Triton ships, finds in machine code."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run(
            [tool, what, file.name], capture_output=True, text=True, check=True
        ).stdout
