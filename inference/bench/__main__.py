"""`python -m inference.bench`: every column on every model, in under ten minutes on one H200.

Writes JSON and a table after each model, so that a command that is cut short has still reported;
run again with the same --out it goes on. Without a GPU use --tiny, which only shows that it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

Say = Callable[[str], object]


def parser(models: Sequence[str], columns: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="python -m inference.bench", description=__doc__)
    made.add_argument("--out", type=Path, default=Path("bench.json"), help="JSON; a .md beside it")
    made.add_argument("--only", nargs="+", metavar="MODEL", choices=models, help=", ".join(models))
    made.add_argument(
        "--columns", nargs="+", metavar="COLUMN", choices=columns,
        help=f"beside eager, which always runs: {' · '.join(columns)}",
    )  # fmt: skip
    made.add_argument("--tiny", action="store_true", help="small models on the CPU, as a rehearsal")
    made.add_argument("--again", action="store_true", help="measure also what --out already has")
    made.add_argument("--budget", type=float, default=1.0, help="times the models' own seconds")
    made.add_argument("--seconds", type=float, default=560.0, help="begin no model after these")
    return made


def main(arguments: Sequence[str], say: Say = lambda line: sys.stdout.write(f"{line}\n")) -> None:
    """Run the command."""
    began = time.monotonic()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.mkdtemp())  # a cold start is cold
    from inference.bench.cases import CASES
    from inference.bench.columns import COLUMNS

    told = parser(list(CASES), list(COLUMNS))
    chosen = told.parse_args(arguments)
    if not chosen.tiny and not gpu():
        told.error("no GPU here: --tiny rehearses on the CPU")
    columns = [name for name in COLUMNS if name in ("eager", *(chosen.columns or COLUMNS))]
    models = [name for name in CASES if not chosen.only or name in chosen.only]
    measure_all(models, columns, chosen, began, say)


def gpu() -> bool:
    """Tell whether there is a GPU."""
    import torch

    return torch.cuda.is_available()


def measure_all(
    models: Sequence[str],
    columns: Sequence[str],
    chosen: argparse.Namespace,
    began: float,
    say: Say,
) -> None:
    """Measure what is asked for and not there yet, writing after each model."""
    import torch

    from inference.bench import report
    from inference.bench.cases import CASES
    from inference.bench.machine import ceilings, clocks, facts
    from inference.bench.measure import measure

    torch._dynamo.config.recompile_limit = 256  # every column compiles the same code anew
    torch._dynamo.config.accumulated_recompile_limit = 4096
    made = report.read(chosen.out)
    made |= {"machine": facts(), "ceilings": ceilings(gpu=gpu() and not chosen.tiny)}
    for name in models:
        case = replace(CASES[name], seconds=CASES[name].seconds * chosen.budget)
        had = report.settled(made, name)
        wanted = [one for one in columns if chosen.again or one == "eager" or one not in had]
        if wanted == ["eager"] and "eager" in had:
            say(f"{name}: already there")
        elif time.monotonic() - began > chosen.seconds:
            say(f"{name}: not begun, {chosen.seconds:.0f} seconds are over")
        else:
            say(f"{name}: {case.note or 'whole'}")
            report.merge(made, name, measure(case, wanted, say, tiny=chosen.tiny))
            report.write(made | {"clocks": clocks()}, chosen.out)
            say("\n".join(report.table(name, made["models"][name])))
            torch._dynamo.reset()


if __name__ == "__main__":
    main(sys.argv[1:])
