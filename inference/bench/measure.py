"""One denoiser through all columns: prepare each, time by turns, profile, compare; plain values."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from inference import attention
from inference.bench.cases import Case, build, inputs_of
from inference.bench.clock import Overran, Times, at_most, by_turns
from inference.bench.columns import COLUMNS, Absent, Ready, prepare
from inference.bench.machine import BF16_DENSE, clocks
from inference.bench.probe import Probe, block_output, probe, truth
from inference.bench.split import split
from inference.compiler.parity import distance, same_bits

PREPARING = 0.75  # of a budget; the rest is for timing what is ready
Say = Callable[[str], object]
Row = dict[str, Any]


@dataclass
class Bench:
    """One denoiser being measured: what is known of it, and its columns so far."""

    case: Case
    gpu: bool
    began: float
    model: nn.Module
    inputs: dict[str, Any]
    seen: Probe
    ready: dict[str, Ready] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds until no further column is prepared."""
        return self.began + self.case.seconds * PREPARING - time.monotonic()


def measure(case: Case, names: Sequence[str], say: Say, *, tiny: bool) -> dict[str, Any]:
    """Measure one denoiser.  → facts and one row per column, whatever became of it."""
    gpu = torch.cuda.is_available() and not tiny
    began, device = time.monotonic(), "cuda" if gpu else "cpu"
    with torch.no_grad():
        model, inputs = build(case, device, tiny=tiny), inputs_of(case, device, tiny=tiny)
        bench = Bench(case, gpu, began, model, inputs, probe(model, inputs))
        name = attention.choose(bench.seen.shapes, device)
        say(f"  built in {time.monotonic() - began:.1f} s; attention: {name}")
        for column in names:
            try_column(bench, column, name, say)
        take_times(bench)
        examine(bench)
    found = facts(bench, name, device, tiny=tiny)
    bench.ready.clear()
    release()
    return found


def facts(bench: Bench, name: str, device: str, *, tiny: bool) -> dict[str, Any]:
    """Say what was measured, and under which limits."""
    flops = bench.seen.flops
    shapes = bench.seen.shapes
    return {
        "note": "tiny: shows that the code runs, nothing else" if tiny else bench.case.note,
        "parameters": sum(one.numel() for one in bench.model.parameters()),
        "flops": flops,
        "limit_ms": sum(flops.values()) / BF16_DENSE / 1e9,
        "attention": {
            "chosen": name,
            "shapes": [list(shapes[0]), list(shapes[1]), str(shapes[2])],
            "ms": attention.times(shapes, device),
        },
        "clocks": clocks(),
        "seconds": round(time.monotonic() - bench.began, 1),
        "columns": bench.rows,
    }


def try_column(bench: Bench, name: str, chosen: str, say: Say) -> None:
    """Prepare a column, or say why not; nothing that it raises gets out."""
    column = COLUMNS[name]
    row: Row = {"exactness": str(column.exactness), "status": "ok"}
    row["attention"] = chosen if column.chosen else attention.NATIVE
    bench.rows[name] = row
    began = time.monotonic()
    if bench.left <= 0:
        row["status"] = "skipped: the time for this model was used up"
        return
    try:
        with at_most(bench.left):
            bench.ready[name] = prepare(column, bench.model, bench.inputs, chosen)
            settle(bench.gpu)
    except (Exception, Overran) as error:
        missing = isinstance(error, Absent)
        why = str(error) if missing else f"{type(error).__name__}: {error}"
        row["status"] = f"{'absent' if missing else 'failed'}: {' '.join(why.split())[:300]}"
        release()
    row["first_seconds"] = round(time.monotonic() - began, 3)
    say(f"  {name}: {row['status']}, first forward {row['first_seconds']:.1f} s")


def take_times(bench: Bench) -> None:
    """Time all columns that are ready by turns."""
    runs = {name: one.run for name, one in bench.ready.items()}
    until = bench.began + bench.case.seconds
    for name, times in by_turns(runs, until, gpu=bench.gpu).items():
        bench.rows[name] |= timed(times, bench.rows[name]["first_seconds"])
    eager = bench.rows.get("eager", {}).get("ms")
    limit = sum(bench.seen.flops.values()) / BF16_DENSE / 1e9
    for name in runs:
        ms = bench.rows[name]["ms"]
        bench.rows[name] |= {"of_limit": limit / ms, "gain": eager / ms if eager else None}


def timed(times: Times, first: float) -> Row:
    """Figures of one column's time; a cold start is what its first forward took longer."""
    cold = max(first - times.median / 1e3, 0.0)
    return {
        "ms": times.median,
        "quartiles": list(times.quartiles),
        "samples": times.samples,
        "cold_seconds": round(cold, 3),
    }


def examine(bench: Bench) -> None:
    """Profile each column and compare it with eager and with float32."""
    exact = truth(bench.model, bench.seen)
    own = distance(block_output(bench.model, bench.seen), exact)
    for name, ready in bench.ready.items():
        row = bench.rows[name]
        try:
            row |= {"split": asdict(split(ready.run, gpu=bench.gpu))}
            with attention.using(row["attention"]):
                row |= compared(bench, ready, exact, own)
        except Exception as error:
            row["status"] = f"failed when examined: {type(error).__name__}: {str(error)[:200]}"
        if ready.compiler:
            row["plans"] = ready.compiler.summary()
        fell = [one for one in ready.said if one.startswith("fell back")]
        row["said"] = ready.said
        if fell:
            row["status"] = "; ".join(fell)


def compared(bench: Bench, ready: Ready, exact: Tensor, own: float) -> Row:
    """How near a column is: its forward to eager's, its block to float32 beside eager's block."""
    output = ready.run()
    error = distance(block_output(ready.model, bench.seen), exact)
    return {
        "same_bits": same_bits(output, bench.seen.output),
        "to_eager": distance(output, bench.seen.output),
        "block_error": error,
        "block_error_of_eagers": error / own if own else None,
    }


def settle(gpu: bool) -> None:
    """Wait for the device."""
    if gpu:
        torch.cuda.synchronize()


def release() -> None:
    """Forget what compilers and allocators still hold."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
