"""What each kernel is worth: `python -m inference.kernels [name …]`.

Compares every template with eager at the families' real sizes: bits, errors against fp32, time,
GB/s and their share of a plain copy; then one layer in fp8, which is approximate. `--compiled`
shows what sm_90 would run and needs no GPU; `--search` times tiles and prints what belongs into
tiles.json. One JSON line ends the report.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import product

import torch

from inference.kernels import tiles
from inference.kernels.fused import FUSED
from inference.kernels.language import watched
from inference.kernels.measuring import Row, copied, linear, milliseconds, row
from inference.kernels.specimens import APPROXIMATE, FLUX, SPECIMENS, Draw, Specimen

Say = Callable[[str], object]
TILES = [tiles.Tile(*one) for one in product((1, 2, 4, 8), (2, 4, 8, 16))]


def main(arguments: Sequence[str], say: Say = lambda line: sys.stdout.write(line + "\n")) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m inference.kernels", description=__doc__)
    parser.add_argument("names", nargs="*", help="templates; all where none is named")
    parser.add_argument("--compiled", action="store_true", help="compile for sm_90, without a GPU")
    parser.add_argument("--search", action="store_true", help="time tiles on this GPU")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(FUSED))
    if unknown:
        parser.error(f"no template is called {unknown[0]}; there are {', '.join(FUSED)}")
    specimens = [one for one in SPECIMENS if not chosen.names or one.template in chosen.names]
    if chosen.compiled:
        show_compiled([*specimens, *(() if chosen.names else APPROXIMATE)], say)
    elif chosen.search:
        search(specimens, say)
    else:
        compare(specimens, say)


def compare(specimens: Sequence[Specimen], say: Say) -> None:
    """A line per specimen, then everything as JSON."""
    gpu = torch.cuda.is_available()
    limit = copied() if gpu else 0.0
    say(f"{torch.cuda.get_device_name()}, copy {limit:,.0f} GB/s" if gpu else "No GPU: a dry run.")
    say(f"{'':24} {'eager':>9} {'ours':>9} {'fp32 in':>9} {'gain':>6} {'GB/s':>6} {'copy':>5}")
    rows = []
    for specimen in specimens:
        rows.append(row(specimen, Draw("cuda" if gpu else "cpu")))
        say(line(rows[-1], limit))
    fp8 = linear(FLUX if gpu else FLUX.shrunk(), Draw("cuda" if gpu else "cpu"))
    say("FLUX linear, E2: " + ", ".join(f"{name} {value:.3f}" for name, value in fp8.items()))
    report = {"copy": limit, "torch": torch.__version__, "rows": [asdict(one) for one in rows]}
    say(json.dumps(report | {"fp8": fp8}))


def line(one: Row, limit: float) -> str:
    """A specimen for people."""
    worth = "same bits" if one.same_bits else f"{one.ours_error / one.eager_error:.2f} of its error"
    share = f"{one.gigabytes() / limit:5.0%}" if limit else "    –"
    return (
        f"{one.name:24} {one.eager_ms:6.3f} ms {one.ours_ms:6.3f} ms {one.inside_ms:6.3f} ms "
        f"{one.eager_ms / one.ours_ms:5.2f}x {one.gigabytes():6.0f} {share} {worth}"
        f"{' (the reference ran)' if one.refused else ''}"
    )


def show_compiled(specimens: Sequence[Specimen], say: Say) -> None:
    """What every launch becomes on sm_90."""
    from inference.kernels.ahead import compiled

    say(f"{'':24} {'kernel':24} warps registers stack shared instructions  accesses")
    for specimen in specimens:
        with watched() as launches:
            FUSED[specimen.template](*specimen.arguments(Draw("meta")))
        for launch in launches:
            code = compiled(launch)
            wide = ", ".join(f"{n} {way.partition('.global.')[0]} {way.partition('.global.')[2]}"
                             for way, n in sorted(code.accesses.items()))  # fmt: skip
            say(
                f"{specimen.name:24} {code.name:24} {launch.warps:5} {code.registers:9} "
                f"{code.stack:5} {code.shared:6} {code.instructions:12}  {wide}"
            )


def search(specimens: Sequence[Specimen], say: Say) -> None:
    """Time every tile for every width in use; the quickest of each as tiles.json has them."""
    found: dict[str, dict[int, dict[str, int]]] = {}
    for specimen in specimens:
        given = specimen.arguments(Draw("cuda"))
        times = {}
        for tile in TILES:
            with tiles.trying(tile) as asked:
                times[tile] = milliseconds(lambda: FUSED[specimen.template].run(*given), gpu=True)  # noqa: B023 - called at once
        best = min(times, key=times.__getitem__)
        say(f"{specimen.name:24} {best} {times[best]:.3f} ms")
        for template, width in asked:
            found.setdefault(template, {})[width] = best._asdict()
    say(json.dumps({torch.cuda.get_device_name(): found}))


if __name__ == "__main__":
    main(sys.argv[1:])
