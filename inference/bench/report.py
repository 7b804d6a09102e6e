"""Figures on disk after every model: JSON to go on from, and a table for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEAD = (
    "column", "class", "ms (quartiles)", "× eager", "of limit", "cold s", "launches",
    "products", "attention", "between", "gaps", "block error ÷ eager's", "to eager", "status",
)  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """Read what an earlier command has measured."""
    if not path.exists():
        return {"models": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def settled(report: dict[str, Any], name: str) -> set[str]:
    """Name a model's columns that need no second try: measured, or absent here."""
    rows = report["models"].get(name, {}).get("columns", {})
    return {one for one, row in rows.items() if "ms" in row or row["status"].startswith("absent")}


def merge(report: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    """Put a model's figures in; columns that were not measured again stay."""
    before = report["models"].get(name, {}).get("columns", {})
    report["models"][name] = found | {"columns": before | found["columns"]}


def write(report: dict[str, Any], path: Path) -> None:
    """Write JSON and, beside it, Markdown; each appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, text in ((path, as_json(report)), (path.with_suffix(".md"), markdown(report))):
        fresh = target.with_name(f".{target.name}")
        fresh.write_text(text, encoding="utf-8")
        fresh.rename(target)


def as_json(report: dict[str, Any]) -> str:
    """Write for machines."""
    return json.dumps(report, indent=1, sort_keys=True) + "\n"


def markdown(report: dict[str, Any]) -> str:
    """Write for people."""
    machine, limits = report.get("machine", {}), report.get("ceilings", {})
    versions = ", ".join(
        f"{name} {one}" for name, one in machine.get("packages", {}).items() if one
    )
    reached = ", ".join(f"{name} {value:,.0f}" for name, value in limits.items())
    lines = [
        "# The engine beside eager and its peers",
        "",
        f"{machine.get('gpu', '')}; {versions}. Measured ceilings: {reached}.",
        "",
        "Random weights at real size, one process, samples by turns, medians. Products, attention,",
        "between and gaps are milliseconds of one profiled forward. The limit is arithmetic at",
        "790 TFLOP/s. E0 the same bits, E1 rounded otherwise, E2 approximate and opt-in.",
    ]
    for name, found in report["models"].items():
        lines += ["", *table(name, found)]
    return "\n".join(lines) + "\n"


def table(name: str, found: dict[str, Any]) -> list[str]:
    """Draw one model."""
    chosen = found["attention"]
    each = ", ".join(f"{kernel} {ms:.2f} ms" for kernel, ms in chosen["ms"].items())
    note = f"{found['note']}. " if found["note"] else ""
    return [
        f"## {name}",
        "",
        f"{note}{found['parameters'] / 1e9:.2f} billion parameters, limit {found['limit_ms']:.1f} "
        f"ms. Attention: {chosen['chosen']}{f' ({each})' if each else ''}.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
        *(f"| {' | '.join(cells(one, row))} |" for one, row in found["columns"].items()),
    ]


def cells(name: str, row: dict[str, Any]) -> list[str]:
    """Write one column's figures; what was not reached stays empty."""
    if "ms" not in row:
        return [name, row["exactness"], *[""] * (len(HEAD) - 3), row["status"]]
    low, high = row["quartiles"]
    parts = row.get("split", {})
    spans = [figure(parts.get(one), ".2f") for one in ("products", "attention", "elementwise")]
    same = "same bits" if row.get("same_bits") else figure(row.get("to_eager"), ".1e")
    return [
        name,
        row["exactness"],
        f"{row['ms']:.2f} ({low:.2f}–{high:.2f})",
        figure(row.get("gain"), ".2f"),
        figure(row.get("of_limit"), ".0%"),
        figure(row.get("cold_seconds"), ".1f"),
        str(parts.get("launches", "")),
        *spans,
        figure(parts.get("gaps"), ".2f"),
        figure(row.get("block_error_of_eagers"), ".2f"),
        same,
        row["status"],
    ]


def figure(value: float | None, form: str) -> str:
    """Write a figure, or nothing."""
    return "" if value is None else format(value, form)
