"""Which device computes, how much it may hold, how much was held at most, how much it does at once.

What was measured of devices stands in `devices.json`: by name, by kind where the name is unknown.
"""

from __future__ import annotations

import gc
import json
import os
import resource
from pathlib import Path
from typing import Any

import torch

MEASURED = Path(__file__).with_name("devices.json")


def pick() -> str:
    """Name the device that this process computes on."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def settle(device: str) -> None:
    """Fix what makes results depend on the moment: threads on a CPU, TF32 and search on a GPU."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if device != "cpu":
        torch.backends.cudnn.benchmark = False


def budget_bytes(device: str) -> int:
    """Bytes of weights that may stay loaded: nine tenths of a GPU, half of a CPU's memory."""
    if told := os.environ.get("KINORA_WORKER_BUDGET_BYTES"):
        return int(told)
    if device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return int(torch.cuda.mem_get_info(device)[1] * 0.9)


def host_budget_bytes(device: str) -> int:
    """Bytes of weights that may wait in host memory: half of it behind a GPU, none on a CPU."""
    if told := os.environ.get("KINORA_WORKER_HOST_BYTES"):
        return int(told)
    if device == "cpu":
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """Copy into host memory that the device can read by itself."""
    copy = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
    return copy.copy_(tensor)


def forget_peak(device: str) -> None:
    """Start a new peak measurement, where the device can."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int:
    """Most bytes held: since `forget_peak` on a GPU, since the process began on a CPU."""
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def known(device: str) -> dict[str, Any]:
    """What was measured of this device, or of its kind."""
    table: dict[str, dict[str, Any]] = json.loads(MEASURED.read_text(encoding="utf-8"))
    kind = device.partition(":")[0]
    name = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return table[kind] | table.get(name, {})


def join_tokens(device: str) -> int:
    """Rows times tokens of one call beyond which joining forwards is not faster."""
    return int(known(device)["join_tokens"])


def embedding_bytes(device: str) -> int:
    """Bytes of what text encoders said that are kept."""
    return int(known(device)["embedding_bytes"])


def runs_at_once(device: str) -> int:
    """Runs that a worker takes at once."""
    return int(os.environ.get("KINORA_WORKER_RUNS") or known(device)["runs"])


def most_spread(device: str) -> int:
    """Devices that one run may be spread over."""
    return int(os.environ.get("KINORA_WORKER_DEVICES") or known(device)["devices"])


def wait(device: str) -> None:
    """Wait for what was asked of the device, so that seconds are those of the call."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def drop_caches(device: str) -> None:
    """Give back memory that nobody holds."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
