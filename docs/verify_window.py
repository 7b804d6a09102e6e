#!/usr/bin/env python3
"""Verify a lab's evidence log: that no row of it was changed, removed or put in.

    python verify_window.py report.json [--key HEX] [--earlier older.json]

Needs Python 3.11 and, to check the signature, the package `cryptography`; nothing of Kinora's.
--key: the house's public key, got another way than with the report. --earlier: a report of before,
whose rows must all be the first rows of this one. Exits with 1 and names each row that is wrong.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

BEGINNING = "0" * 64
Report = dict[str, Any]


def digest(before: str, body: str) -> str:
    """Hex SHA-256 of the digest before, a line feed and the row's own text."""
    return hashlib.sha256(f"{before}\n{body}".encode()).hexdigest()


def faults(report: Report) -> list[str]:
    """What is wrong with the chain, row by row, and with its end."""
    found: list[str] = []
    before, expected = BEGINNING, 1
    for row in report["rows"]:
        number = row["number"]
        if number > expected:
            found.append(f"row {missing(expected, number)} is missing")
        elif number < expected:
            found.append(f"row {number} was put in")
        if digest(before, row["body"]) != row["digest"]:
            found.append(f"row {number} was changed, or what stands before it")
        if said(row["body"]).get("number") != number:
            found.append(f"row {number} says that it is another")
        before, expected = row["digest"], number + 1
    if (report["count"], report["head"]) != (expected - 1, before):
        found.append(f"the log ends at row {expected - 1}, but was signed with {report['count']}")
    return found


def missing(first: int, after: int) -> str:
    return str(first) if first == after - 1 else f"{first} to {after - 1}"


def said(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def signed(report: Report) -> bytes:
    """The text that the signature is of."""
    told = {name: report[name] for name in ("lab", "at", "count", "head", "key")}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def wrong_signature(report: Report, key: str | None) -> list[str]:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if key and key != report["key"]:
        return ["the report is signed with another key than yours"]
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(report["key"]))
        public.verify(bytes.fromhex(report["signature"]), signed(report))
    except (InvalidSignature, ValueError):
        return ["the signature is wrong"]
    return []


def rewritten(report: Report, earlier: Report) -> list[str]:
    """Rows that an earlier report had otherwise."""
    now = {row["number"]: row["digest"] for row in report["rows"]}
    return [
        f"row {row['number']} is not what it was in the earlier report"
        for row in earlier["rows"]
        if now.get(row["number"]) != row["digest"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("report", type=Path)
    parser.add_argument("--key", help="the house's public key, hex")
    parser.add_argument("--earlier", type=Path, help="a report that you kept")
    asked = parser.parse_args()
    report = json.loads(asked.report.read_text())
    found = [*faults(report), *wrong_signature(report, asked.key)]
    if asked.earlier:
        found += rewritten(report, json.loads(asked.earlier.read_text()))
    for fault in found:
        print(fault)
    if not found:
        print(f"{report['count']} rows of {report['lab']} hold, up to {report['at']}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
