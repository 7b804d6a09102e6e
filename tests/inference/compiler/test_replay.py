"""The same graphs give the plans that are stored; a change is shown as a diff to approve."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.compiler.families import FAMILIES
from inference.compiler.plan import Plan
from tests.inference.compiler.conftest import Captured

PLANS = Path(__file__).parent / "plans"
APPROVE = "KINORA_APPROVE_PLANS"


def text(plan: Plan) -> list[str]:
    """A plan as it is stored: its calls, then its report."""
    return [*plan.lines, "", *str(plan.report).splitlines()]


def compare(name: str, plan: Plan) -> None:
    """Hold a plan to the stored one."""
    path, now = PLANS / f"{name}.txt", text(plan)
    if os.environ.get(APPROVE):
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(now) + "\n")
    stored = path.read_text().splitlines() if path.exists() else []
    changes = "\n".join(difflib.unified_diff(stored, now, "stored", "now", lineterm=""))
    assert not changes, f"{changes}\nIf this is meant, approve it with {APPROVE}=1 and commit it."


@pytest.mark.parametrize("name", FAMILIES)
def test_a_plan_is_the_stored_one(name: str, captured: Callable[[str], Captured]) -> None:
    compare(name, captured(name).plan)
