"""`python -m inference report <model>`: what the compiler makes of a model, from its shapes.

`python -m inference adopt <family> <folder>`: check a diffusers folder and put it on the shelf.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from inference.adopt import Adoption, about, adopt, families
from inference.compiler.families import FAMILIES
from inference.compiler.published import plan_of, report_of
from inference.models.folder import Unsuitable


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    report = commands.add_parser("report", help="sites, kernels and bytes by pattern")
    report.add_argument("model", choices=FAMILIES)
    report.add_argument("--tiny", action="store_true", help="the tests' small configuration")
    report.add_argument("--plan", action="store_true", help="every call, unscaled depth")
    report.add_argument("--json", action="store_true", help="as stored beside a release")
    report.set_defaults(act=reported)
    taken = commands.add_parser("adopt", help="check a diffusers folder, write its kinora.json")
    taken.add_argument("family", choices=families())
    taken.add_argument("folder", type=Path, help="holds model_index.json and safetensors")
    taken.add_argument("--slug", default="", help="what the model is called; else as its folder")
    taken.add_argument("--title", default="", help="what people read; else as the family says")
    taken.add_argument("--queue", default="gpu.std", help="the pool whose workers hold it")
    taken.add_argument("--devices", type=int, default=1, help="that one run is spread over")
    taken.add_argument("--check", action="store_true", help="write nothing")
    taken.set_defaults(act=adopted)
    told = parser.parse_args()
    sys.stdout.write(told.act(told) + "\n")


def reported(told: argparse.Namespace) -> str:
    """Report a model."""
    if told.plan or told.tiny:
        plan = plan_of(FAMILIES[told.model], tiny=told.tiny, depths={})
        lines = [*plan.lines, "", str(plan.report)]
        text = json.dumps(plan.as_json()) if told.json else "\n".join(lines)
    else:
        found = report_of(told.model)
        text = json.dumps(found.as_json()) if told.json else str(found)
    return text


def adopted(told: argparse.Namespace) -> str:
    """Put a folder on the shelf, or end saying what is wrong with it."""
    adoption = Adoption(told.family, told.folder, told.slug, told.title, told.queue, told.devices)
    try:
        found = about(adoption)
        path = told.folder if told.check else adopt(adoption)
    except (Unsuitable, ValueError, OSError) as error:
        sys.exit(f"cannot be adopted:\n{error}")
    size, steps = found["facts"]["bytes"] / 1e9, found["facts"]["steps"]
    return (
        f"{path}: {found['slug']}, {size:.1f} GB, {found['facts']['tokens']} tokens in {steps} "
        f"steps\nWorkers hold it where KINORA_WEIGHTS names {told.folder.resolve().parent}."
    )


if __name__ == "__main__":
    main()
