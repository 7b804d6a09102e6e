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
import operator
import sys
from datetime import UTC, datetime, time
from fractions import Fraction as F

ROUND = {"up": math.ceil, "down": math.floor, "nearest": round}  # round: half to even
CALL = {"min": min, "max": max, "ceil": math.ceil, "floor": math.floor}
DO = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def sha256(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def formula(node, text, names):
    if isinstance(node, ast.Constant):
        return F(ast.get_source_segment(text, node).replace("_", ""))
    if isinstance(node, ast.BinOp):
        return DO[type(node.op)](formula(node.left, text, names), formula(node.right, text, names))
    if isinstance(node, ast.Call):
        return F(CALL[node.func.id](*(formula(part, text, names) for part in node.args)))
    return names[ast.unparse(node)]


def fits(row, run):
    now = datetime.fromisoformat(run["created_at"]).astimezone(UTC).time()
    start, end = map(time.fromisoformat, row.get("between") or ("00:00", "23:59:59.999999"))
    inside = start <= now < end if start < end else now >= start or now < end
    wanted = row.get("when", {}).items()
    return (inside or not row.get("between")) and all(run["inputs"].get(k) == v for k, v in wanted)


def tiered(tiers, due):
    start, parts, offers = F(0), F(0), []
    for step in tiers["steps"]:
        end, price = F(step["up_to"] or max(due, start)), F(step["unit_price"])
        parts += max(F(0), min(due, end) - start) * price
        if step["up_to"] is None or due <= end:
            offers.append(max(due, start) * price)
        start = end
    return min(offers) if tiers.get("mode") == "volume" else parts


def priced(line, run):
    """Quantity, unit price (None where tiers vary it) and amount, exact."""
    names = {f"usage.{u['unit'].replace(':', '.')}": F(u["charged"]) for u in run["usage"]}
    count = names.get(f"usage.{line['unit'].replace(':', '.')}")
    if text := line.get("quantity"):
        numbers = {k: v for k, v in run["inputs"].items() if isinstance(v, (int, float))}
        names |= {
            f"inputs.{k}": F(str(v) if isinstance(v, float) else v) for k, v in numbers.items()
        }
        count = max(F(0), formula(ast.parse(text, mode="eval").body, text, names))
    factor = math.prod(F(row["factor"]) for row in line.get("factors", []) if fits(row, run))
    due = max(F(0), max(count, F(line.get("minimum", 0))) - F(line.get("included", 0)))
    if "step" in line:
        due = ROUND[line.get("rounding", "up")](due / F(line["step"])) * F(line["step"])
    if "tiers" in line:
        return count, None, tiered(line["tiers"], due) * factor
    row = next((row for row in line.get("table", []) if fits(row, run)), line)
    return count, F(row["unit_price"]) * factor, due * F(row["unit_price"]) * factor


def shown(line, part):
    """A recomputed line as a statement says it: rounded to twelve places."""
    return [line["unit"], *(None if x is None else F(round(x * 10**12), 10**12) for x in part)]


def faults(run, prices):
    captured, taken = run["captured_nano"], run["hold_state"] == "captured"
    price = prices.get(run["price_sha256"], {"lines": [], "release": None})
    charged = taken or any(F(used["charged"]) for used in run["usage"])
    found = [priced(line, run) for line in price["lines"]] if charged else []
    due = min(round(sum(part[2] for part in found) * 10**9), run["held_nano"])  # half to even
    told = [[x["unit"], *(x[k] and F(x[k]) for k in ("quantity", "unit_price", "amount"))]
            for x in run["lines"]]  # fmt: skip
    lines = [shown(*each) for each in zip(price["lines"], found)] if captured else []  # noqa: B905
    back = sum(refund["amount_nano"] for refund in run["refunds"])
    moves = [(run["entries"], -captured)] + [
        (r["entries"], r["amount_nano"]) for r in run["refunds"]
    ]
    return [fault for fault, true in {
        "its inputs are not those of inputs_sha256": sha256(run["inputs"]) != run["inputs_sha256"],
        "its price is not in the statement": price["release"] != run["release"],
        f"captured {captured}, recomputed {due}": captured != due,
        "its lines differ from the recomputed ones": told != lines,
        "captured ≤ held ≤ quoted fails": not captured <= run["held_nano"] <= run["quoted_nano"],
        "refunded ≤ captured fails": not 0 <= back <= captured,
        "a refund is not more than 0": any(r["amount_nano"] <= 0 for r in run["refunds"]),
        "entries do not sum to 0": any(sum(e["amount_nano"] for e in es) for es, _ in moves),
        "entries of your accounts differ": any(
            sum(e["amount_nano"] for e in es if e["yours"]) != mine for es, mine in moves
        ),
    }.items() if true]  # fmt: skip


def verify(texts):
    head, prices, last, sums, seal = None, {}, "", [0, 0, 0], hashlib.sha256()
    for text in texts:
        line = json.loads(text)
        head = head or line
        if last is None:
            yield "there are lines after the total"
        elif line["kind"] == "price":
            if line["sha256"] != sha256({k: line[k] for k in line if k not in ("kind", "sha256")}):
                yield f"price {line['release']} version {line['version']}: its sha256 differs"
            prices[line["sha256"]] = line
        elif line["kind"] == "run":
            yield from (f"{line['run']}: {fault}" for fault in faults(line, prices))
            if line["run"] <= last or not head["from"] <= line["created_at"][:10] < head["to"]:
                yield f"{line['run']}: it is out of order or of the period"
            back = sum(refund["amount_nano"] for refund in line["refunds"])
            last, more = line["run"], (1, line["captured_nano"], back)
            sums = [a + b for a, b in zip(sums, more, strict=True)]
        elif line["kind"] == "total":
            if [line["runs"], line["captured_nano"], line["refunded_nano"]] != sums:
                yield f"the total differs from {sums[0]} runs, {sums[1]} − {sums[2]} nano"
            if line["sha256"] != seal.hexdigest():
                yield "the seal differs: some line was edited"
            last = None
        seal.update(text)
    if last is not None or (head["kind"], head["version"]) != ("kinora.statement", 2):
        yield "this is not a whole statement of version 2"


def main(arguments):
    if arguments[:1] in (["-h"], ["--help"]) or len(arguments) > 1:
        return print(__doc__)
    try:
        with open(arguments[0], "rb") if arguments else sys.stdin.buffer as texts:
            found = list(verify(texts))
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError) as error:
        found = [f"this cannot be read as a statement: {error!r}"]
    print("\n".join(found) or "Every nano adds up.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
