"""What a measurement stands on: the machine, its versions, its clocks, its two ceilings."""

from __future__ import annotations

import os
import platform
import subprocess
from typing import Any

import torch

from inference.compiler.cache import device_name, source_hash, version
from inference.kernels.measuring import copied, milliseconds

BF16_DENSE = 790.0  # TFLOP/s of an H200, as measured and as the limits assume
PACKAGES = (
    "torch", "triton", "diffusers", "transformers", "cache-dit", "liger-kernel", "torchao",
)  # fmt: skip
ASKED = "clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw,driver_version"
SIDE = 8192


def facts() -> dict[str, Any]:
    """Name the machine and what is installed; a package that is not there says ""."""
    return {
        "gpu": device_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "cuda": torch.version.cuda or "",
        "packages": {name: version(name) for name in PACKAGES},
        "source": source_hash()[:16],
    }


def clocks() -> dict[str, str]:
    """Read clocks, temperature and power, where nvidia-smi is."""
    asked = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(ASKED.split(","), told.strip().splitlines()[0].split(", "), strict=False))


def ceilings(*, gpu: bool) -> dict[str, float]:
    """Measure a large bf16 product and a large copy; on a CPU a small product alone."""
    side = SIDE if gpu else 256
    device = "cuda" if gpu else "cpu"
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    span = milliseconds(lambda: a @ b, gpu=gpu)
    found = {"product_tflops": 2 * side**3 / span / 1e9}
    return found | ({"copy_gbs": copied()} if gpu else {})
