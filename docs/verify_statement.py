#!/usr/bin/env python3
"""Verify a Kinora statement: redo every charge from its price, quantities and inputs, exactly.

usage: verify_statement.py [STATEMENT.jsonl]    without a file: standard input

Says what differs and exits 1 if anything does. Python's standard library only; docs/prices.md
tells the arithmetic in words. The total's sha256 seals all lines; keep it to notice a later edit.
"""

import ast
import hashlib
import json
import math
import sys
from datetime import datetime, time
from fractions import Fraction as F

ROUND = {"up": math.ceil, "down": math.floor, "nearest": round}  # round: half to even
CALLS = {"min": min, "max": max, "ceil": math.ceil, "floor": math.floor}
SHOWN = ("quantity", "unit_price", "amount")
BINARY = {ast.Add: F.__add__, ast.Sub: F.__sub__, ast.Mult: F.__mul__, ast.Div: F.__truediv__}


def sha256(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def formula(node, text, names):
    walk = lambda part: formula(part, text, names)  # noqa: E731
    if isinstance(node, ast.Constant):
        return F(ast.get_source_segment(text, node).replace("_", ""))
    if isinstance(node, ast.BinOp):
        return BINARY[type(node.op)](walk(node.left), walk(node.right))
    if isinstance(node, ast.Call):
        return F(CALLS[node.func.id](*map(walk, node.args)))
    return names[ast.unparse(node)]


def fits(row, run):
    if any(run["inputs"].get(name) != value for name, value in row.get("when", {}).items()):
        return False
    if not row.get("between"):
        return True
    now = datetime.fromisoformat(run["created_at"]).time()
    start, end = map(time.fromisoformat, row["between"])
    return start <= now < end if start <= end else now >= start or now < end


def quantity(line, run):
    names = {f"usage.{used['unit']}": F(used["charged"]) for used in run["usage"]}
    if "quantity" not in line:
        return names[f"usage.{line['unit']}"]
    names |= {
        f"inputs.{k}": F(str(v) if isinstance(v, float) else v)
        for k, v in run["inputs"].items()
        if isinstance(v, (int, float))
    }
    return max(
        F(0), formula(ast.parse(line["quantity"], mode="eval").body, line["quantity"], names)
    )


def tiered(steps, due, mode):
    start, total, offers = F(0), F(0), []
    for step in steps:
        end, price = step["up_to"] and F(step["up_to"]), F(step["unit_price"])
        total += max(F(0), (due if end is None else min(due, end)) - start) * price
        if end is None or due <= end:
            offers.append(max(due, start) * price)
        start = end
    return min(offers) if mode == "volume" else total


def shown(value):
    return None if value is None else F(round(value * 10**12), 10**12)  # as lines say it


def priced(line, run):
    """Quantity, unit price (None where tiers vary it) and amount, exact."""
    count = quantity(line, run)
    factor = math.prod(F(row["factor"]) for row in line.get("factors", []) if fits(row, run))
    due = max(F(0), max(count, F(line.get("minimum", 0))) - F(line.get("included", 0)))
    if "step" in line:
        due = ROUND[line.get("rounding", "up")](due / F(line["step"])) * F(line["step"])
    if line.get("tiers", {}).get("steps"):
        return count, None, tiered(line["tiers"]["steps"], due, line["tiers"].get("mode")) * factor
    row = next((row for row in line.get("table", []) if fits(row, run)), line)
    price = F(row["unit_price"]) * factor
    return count, price, due * price


def faults(run, prices):
    captured, taken = run["captured_nano"], run["hold_state"] == "captured"
    used = any(F(event["charged"]) for event in run["usage"])
    if sha256(run["inputs"]) != run["inputs_sha256"]:
        yield "the inputs are not those of inputs_sha256"
    if not 0 <= captured <= run["held_nano"] <= run["quoted_nano"]:
        yield "captured ≤ held ≤ quoted does not hold"
    price = prices.get(run["price_sha256"])
    if price is None or price["release"] != run["release"]:
        yield "its price is not in the statement"
    elif taken or used:
        found = [priced(line, run) for line in price["lines"]]
        due = min(round(sum(part[2] for part in found) * 10**9), run["held_nano"])  # half to even
        if captured != due:
            yield f"captured {captured}, recomputed {due}"
        told = [
            (line["unit"], *(line[name] and F(line[name]) for name in SHOWN))
            for line in run["lines"]
        ]
        redone = [
            (line["unit"], *map(shown, part))
            for line, part in zip(price["lines"], found, strict=True)
        ]
        if told != (redone if captured else []):
            yield "its lines differ from the recomputed ones"
    elif captured or run["lines"]:
        yield f"captured {captured} where nothing was charged"
    if sum(entry["amount_nano"] for entry in run["entries"]):
        yield "its entries do not sum to 0"
    if sum(entry["amount_nano"] for entry in run["entries"] if entry["yours"]) != -captured:
        yield f"the entries of your accounts do not sum to {-captured}"


def verify(lines):
    head, prices, last, runs, captured, seal = None, {}, "", 0, 0, hashlib.sha256()
    for text in lines:
        line = json.loads(text)
        if head is None:
            head = line
            if (line["kind"], line["version"]) != ("kinora.statement", 1):
                yield "this is not a statement of version 1"
        elif last is None:
            yield "there are lines after the total"
        elif line["kind"] == "price":
            if sha256({k: v for k, v in line.items() if k != "sha256"}) != line["sha256"]:
                yield f"price {line['release']} v{line['version']}: its sha256 differs"
            prices[line["sha256"]] = line
        elif line["kind"] == "run":
            yield from (f"{line['run']}: {fault}" for fault in faults(line, prices))
            if line["run"] <= last or not head["from"] <= line["created_at"][:10] < head["to"]:
                yield f"{line['run']}: it is out of order or of the period"
            last, runs, captured = line["run"], runs + 1, captured + line["captured_nano"]
        elif line["kind"] == "total":
            if (line["runs"], line["captured_nano"]) != (runs, captured):
                yield f"the total differs from {runs} runs, {captured} nano"
            if line["sha256"] != seal.hexdigest():
                yield "the seal differs: some line was edited"
            last = None
        seal.update(text)
    if last is not None:
        yield "the total is missing: the statement is cut short"


def main(arguments):
    if arguments[:1] in (["-h"], ["--help"]) or len(arguments) > 1:
        print(__doc__)
        return 0
    try:
        with open(arguments[0], "rb") if arguments else sys.stdin.buffer as lines:
            found = list(verify(lines))
    except (ArithmeticError, KeyError, OSError, TypeError, ValueError) as error:
        found = [f"this cannot be read as a statement: {error!r}"]
    print("\n".join(found) or "Every nano adds up.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
