"""One of two processes that compute FLUX and Wan together: python spreading.py <rank> <folder>.

The leader writes what came of each network alone and together.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from inference.compiler.families import FAMILIES, Size
from inference.ulysses import Leader, follow, spread

SIZES = [Size(1, 1, 6, 8, 8), Size(1, 1, 4, 10, 12), Size(2, 1, 6, 8, 8)]
NAMES = ["flux-1-dev", "wan-2.1-1.3b"]


def wide(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in given.items()
    }


def lead(network: Any, given: list[dict[str, Any]]) -> list[tuple[Tensor, Tensor]]:
    with torch.inference_mode():
        alone = [network(**one)[0] for one in given]
        spread(network, 2)
        leader = Leader(network, "cpu")
        together = [leader(**one)[0] for one in given]
        leader.end()
    return list(zip(alone, together, strict=True))


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    results: dict[str, Any] = {}
    for name in NAMES:
        torch.manual_seed(5)
        network = FAMILIES[name].build().float().eval()
        for weight in network.parameters():
            dist.broadcast(weight.data, src=0)
        if rank == 0:
            results[name] = lead(network, [wide(FAMILIES[name].example(size)) for size in SIZES])
        else:
            spread(network, 2)
            results[name] = follow({"": network}, "cpu")
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
