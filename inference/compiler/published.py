"""A family's report at its published width and depth, from shapes alone: no weights, no GPU.

Blocks of a kind are alike, so sites and bytes grow by the same amount with each: two depths are
captured and the rest follows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from inference.compiler.capture import capture
from inference.compiler.families import FAMILIES, TINY, Family
from inference.compiler.plan import Plan, rewrite
from inference.compiler.report import CoverageReport, Row

LEAST = 2  # blocks: the first or the last of a kind may differ from the others


def plan_of(
    family: Family,
    *,
    tiny: bool,
    depths: dict[str, Any],
    prepare: Callable[[nn.Module], object] = lambda _: None,
) -> Plan:
    """Capture a family on shapes and plan it.  prepare: what is done to the module before."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo's, of diffusers' deprecated corners
        module = family.build(tiny=tiny, **depths)
        prepare(module)
        inputs = family.example(TINY if tiny else family.size, tiny=tiny)
        return rewrite(capture(module, inputs).graph_module)


def report_of(name: str) -> CoverageReport:
    """Report a family as published.  Raises KeyError."""
    family = FAMILIES[name]
    least = dict.fromkeys(family.depths, LEAST)
    base = plan_of(family, tiny=False, depths=least).report
    whole = combined(base, base, 0)
    for depth in family.depths:
        more = plan_of(family, tiny=False, depths=least | {depth: LEAST + 1}).report
        blocks = family.config[depth] - LEAST
        whole = combined(whole, more, blocks)
        whole = combined(whole, base, -blocks)
    return whole


def combined(one: CoverageReport, other: CoverageReport, times: int) -> CoverageReport:
    """Add a report several times to another."""
    patterns, uncovered = (
        {
            name: added(ours.get(name, Row()), theirs.get(name, Row()), times)
            for name in {**ours, **theirs}
        }
        for ours, theirs in (
            (one.patterns, other.patterns),
            (one.uncovered, other.uncovered),
        )
    )
    names = sorted({*one.templates, *other.templates})
    used = {
        name: one.templates.get(name, 0) + times * other.templates.get(name, 0) for name in names
    }
    return CoverageReport(one.exactness, patterns, used, uncovered)


def added(one: Row, other: Row, times: int) -> Row:
    """Add a row several times to another."""
    return Row(*(getattr(one, f.name) + times * getattr(other, f.name) for f in fields(Row)))
