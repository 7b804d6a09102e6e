"""Which device computes, how much it may hold, and how much was held at most."""

from __future__ import annotations

import os
import resource

import torch


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


def forget_peak(device: str) -> None:
    """Start a new peak measurement, where the device can."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int:
    """Most bytes held: since `forget_peak` on a GPU, since the process began on a CPU."""
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
