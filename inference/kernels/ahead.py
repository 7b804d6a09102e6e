"""Compile kernels for a GPU that is not here, and look at what came out.

Arguments may lie on the meta device: a kernel is specialised on types, on steps that are one or
multiples of 16, and on constants, exactly as a launch would specialise it.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.kernels.language import Launch

HOPPER = ("cuda", 90, 32)
SHARED_LIMIT = 227 * 1024  # bytes of one block on sm_90
REGISTERS, FRAME = 0x2F, 0x11  # attributes of a kernel in its .nv.info
INSTRUCTION = 16  # bytes of one
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
    attributes, code = machine(kernel.asm["cubin"])
    return Compiled(
        name=f"{launch.kernel.fn.__module__.rpartition('.')[2]}.{launch.kernel.fn.__name__}",
        shared=kernel.metadata.shared,
        registers=attributes[REGISTERS],
        stack=attributes[FRAME],
        instructions=code // INSTRUCTION,
        accesses=Counter(re.findall(r"(?:ld|st)\.global[.\w]*", kernel.asm["ptx"])),
    )


def machine(cubin: bytes) -> tuple[dict[int, int], int]:
    """What an ELF file of NVIDIA's tells of its one kernel: attributes, and bytes of code."""
    start, count, names = (
        *struct.unpack_from("<Q", cubin, 40),
        *struct.unpack_from("<HH", cubin, 60),
    )
    headers = [struct.unpack_from("<IIQQQQ", cubin, start + 64 * i) for i in range(count)]
    attributes: dict[int, int] = {}
    code = 0
    for name, _, _, _, offset, size in headers:
        label = cubin[headers[names][4] + name :].split(b"\0", 1)[0]
        if label == b".nv.info":
            attributes |= dict(attributes_of(cubin[offset : offset + size]))
        elif label.startswith(b".text."):
            code = size
    return attributes, code


def attributes_of(section: bytes) -> Iterator[tuple[int, int]]:
    """Attributes with a value for a function: (format 4, attribute, 8, function, value)."""
    at = 0
    while at < len(section):
        form, attribute, size = struct.unpack_from("<BBH", section, at)
        if form == 4 and size == 8:
            yield attribute, struct.unpack_from("<II", section, at + 4)[1]
        at += 4 + (size if form == 4 else 0)
