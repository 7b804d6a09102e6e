"""Each family captured once: eager's output, the plan, and the rewritten program's output."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.compiler.capture import capture
from inference.compiler.families import FAMILIES, TINY, Family
from inference.compiler.plan import Plan, rewrite


@dataclass(frozen=True)
class Captured:
    """What happened to one tiny family."""

    family: Family
    plan: Plan
    eager: Tensor
    ours: Tensor


@cache
def captured_family(name: str) -> Captured:
    family = FAMILIES[name]
    module, inputs = family.build(), family.example(TINY)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo on diffusers' own deprecated corners
        eager = module(**inputs)[0]
        program = capture(module, inputs)
        plan = rewrite(program.graph_module)
        ours = program.module()(**inputs)[0]
    return Captured(family, plan, eager, ours)


@pytest.fixture(scope="session")
def captured() -> Callable[[str], Captured]:
    return captured_family


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Any:
    yield
    torch._dynamo.reset()
