"""`python -m inference report <model>`: what the compiler makes of a model, from its shapes."""

from __future__ import annotations

import argparse
import json
import sys

from inference.compiler.families import FAMILIES
from inference.compiler.published import plan_of, report_of


def main() -> None:
    """Read the command line and print a report."""
    parser = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    report = commands.add_parser("report", help="sites, kernels and bytes by pattern")
    report.add_argument("model", choices=FAMILIES)
    report.add_argument("--tiny", action="store_true", help="the tests' small configuration")
    report.add_argument("--plan", action="store_true", help="every call, unscaled depth")
    report.add_argument("--json", action="store_true", help="as stored beside a release")
    told = parser.parse_args()
    if told.plan or told.tiny:
        plan = plan_of(FAMILIES[told.model], tiny=told.tiny, depths={})
        lines = [*plan.lines, "", str(plan.report)]
        text = json.dumps(plan.as_json()) if told.json else "\n".join(lines)
    else:
        found = report_of(told.model)
        text = json.dumps(found.as_json()) if told.json else str(found)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
