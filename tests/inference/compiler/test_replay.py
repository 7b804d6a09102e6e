"""The same graphs give the plans that are stored; a change is shown as a diff to approve."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.compiler.families import FAMILIES
from tests.inference.compiler.conftest import Captured

PLANS = Path(__file__).parent / "plans"
APPROVE = "KINORA_APPROVE_PLANS"


def text(found: Captured) -> list[str]:
    """A plan as it is stored: its calls, then its report."""
    return [*found.plan.lines, "", *str(found.plan.report).splitlines()]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_plan_is_the_stored_one(name: str, captured: Callable[[str], Captured]) -> None:
    path, now = PLANS / f"{name}.txt", text(captured(name))
    if os.environ.get(APPROVE):
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(now) + "\n")
    stored = path.read_text().splitlines() if path.exists() else []
    changes = "\n".join(difflib.unified_diff(stored, now, "stored", "now", lineterm=""))
    assert not changes, f"{changes}\nIf this is meant, approve it with {APPROVE}=1 and commit it."
