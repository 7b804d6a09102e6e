"""What the main job shows in a terminal: a line of progress, receipts, the way in. Pure text."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]
WIDTH = 78
LABEL = 13
BAR = 24
EXAMPLE = """{"model": "kinora/glyph", "inputs": {"prompt": "tomato"}, "wait": 30}"""


def progress(run: Json) -> str:
    """One line: what the run is doing, and how far it is."""
    name = f"  {run['model']}  "
    done = run["progress"]
    if run["state"] != "running" or not done or not done["steps"]:
        return f"{name}{run['state']}"
    filled = BAR * done["step"] // done["steps"]
    bar = "█" * filled + "░" * (BAR - filled)
    return f"{name}{done['stage']}  {bar}  {done['step']}/{done['steps']}"


def receipt(found: Json, file: Path) -> str:
    """A run's receipt, from what the API gave and where its file was saved."""
    cost, route = found["cost"], found["route"]
    rows = [
        ("prompt", found["inputs"]["prompt"]),
        ("file", f"{file}  ({about(found['outputs'][0])})"),
        ("run", f"{found['run']}  {found['model']}@{found['release']}"),
        ("time", f"waited {seconds(found['waiting_seconds'])}, "
                 f"ran {seconds(found['running_seconds'])}, attempts {found['attempts']}"),
        ("route", f"{route['supplier']}, queue {route['queue']}, worker {route['worker']}"),
        ("reason", route["reason"]),
        *(("units", units(event)) for event in found["usage"]),
        ("price", f"version {found['price']['version']}: {price(found['price'])}"),
        ("quote", dollars(cost["quoted"])),
        ("held", dollars(cost["held"])),
        ("captured", dollars(cost["captured"])),
        ("given back", dollars(cost["given_back"])),
        ("balance", f"{dollars(found['balance_before'])} → {dollars(found['balance_after'])}"),
        ("ledger", f"Σ = {plain(entries_sum(found))} over {len(found['entries'])} entries"),
    ]  # fmt: skip
    rule = "  " + "─" * (WIDTH - 2)
    lines = [f"  {label:<{LABEL}}{text}" for label, text in rows]
    return "\n".join(["", "  RECEIPT", rule, *lines, rule, ""])


def entries_sum(found: Json) -> int:
    """The sum of the charge's ledger entries, nano-units; anything but 0 is an error."""
    return sum(int(entry["amount"]["nano"]) for entry in found["entries"])


def units(event: Json) -> str:
    """What the three witnesses said of one unit, and what is charged."""
    said = (f"{name} {event[name]}" for name in ("requested", "reported", "measured", "charged"))
    return f"{event['unit']}: {', '.join(said)}"


def price(found: Json) -> str:
    lines = (f"${plain(line['unit_price'])} per {line['unit']}" for line in found["lines"])
    return ", ".join(lines)


def about(output: Json) -> str:
    """`256 × 256, 12.3 kB`, and for a clip how long and whether with sound."""
    parts = [f"{output['width']} × {output['height']}"] if output["width"] else []
    if output["seconds"]:
        parts.append(
            f"{plain(output['seconds'])} s {'with' if output['sound'] else 'without'} sound"
        )
    return ", ".join([*parts, f"{output['bytes'] / 1000:.1f} kB"])


def dollars(amount: Json) -> str:
    return f"${amount['amount']}"


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def plain(value: object) -> str:
    """A number without needless zeros or an exponent."""
    return f"{Decimal(str(value)).normalize():f}"


def way_in(url: str, key: str, data: Path) -> str:
    """The address, the key, and three calls to begin with."""
    bearer = f"-H 'Authorization: Bearer {key}'"
    return "\n".join(
        [
            "",
            f"  Open   {url}",
            f"  Key    {key}",
            f"  Log in with an address and a password of {data / 'demo.json'}",
            "",
            f"  curl -s {url}/api/v1/models {bearer}",
            f"  curl -s {url}/api/v1/runs {bearer} -H 'Content-Type: application/json' "
            f"-d '{EXAMPLE}'",
            f"  curl -s {url}/api/v1/balance {bearer}",
            "",
            "  Ctrl-C stops everything.",
            "",
        ]
    )
