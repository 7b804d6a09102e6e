"""What the proofs measured: printed, and a dated table in docs/benchmarks where asked for.

PROOF_OUT=docs/benchmarks make prove
"""

import json
import os
from pathlib import Path
from typing import Any

from tests.load.__main__ import facts


def keep(proof: str, found: dict[str, Any], *, file: str = "proofs") -> None:
    """Print a proof's figures, and add them to today's file of the present commit."""
    print(f"\n{proof}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    if not (folder := os.environ.get("PROOF_OUT")):
        return
    known = facts()
    name = f"{file}-{known['date'][:10]}-{known['commit']}"
    path = Path(folder) / f"{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else known | {"figures": {}}
    kept["figures"][proof] = found
    path.write_text(json.dumps(kept, indent=2) + "\n")
    lines = [
        f"Commit {kept['commit']}, {kept['date']}, {kept['cores']} cores"
        f" (load {kept['load_before']:.1f} before the first).\n",
        "| proof | figures |",
        "|---|---|",
    ]
    for said, row in kept["figures"].items():
        shown = "; ".join(
            f"{what}: {value:,}" if isinstance(value, int | float) else f"{what}: {value}"
            for what, value in row.items()
        )
        lines.append(f"| {said} | {shown} |")
    (Path(folder) / f"{name}.md").write_text("\n".join(lines) + "\n")
