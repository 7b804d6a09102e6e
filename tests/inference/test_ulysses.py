"""Two processes compute one forward, by gloo: the output is that of one process, as E1 allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.compiler.families import FAMILIES
from inference.ulysses import Indivisible, check
from tests.inference import spreading

ROOT = Path(__file__).resolve().parents[2]


def test_flux_and_wan_over_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", spreading.__name__]
    told = os.environ | {"OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path)],
            cwd=ROOT,
            env=told,
        )
        for rank in (0, 1)
    ]
    assert [one.wait(120) for one in both] == [0, 0]
    led, followed = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert followed == dict.fromkeys(spreading.NAMES, len(spreading.SIZES))
    for name in spreading.NAMES:
        for alone, together in led[name]:
            assert alone.shape == together.shape
            error = (together - alone).norm() / alone.norm()
            assert error < 1e-6, name  # other matrix sizes round otherwise: a few float32 ulps


@pytest.mark.parametrize(
    ("degree", "lengths", "reason"),
    [
        (3, (), "heads cannot be split 3 ways"),
        (1, (), "heads cannot be split 1 ways"),
        (2, (4096, 333), "333 tokens cannot be split 2 ways"),
    ],
)
def test_what_does_not_divide_is_refused(
    degree: int, lengths: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(Indivisible, match=reason):
        check(FAMILIES["flux-1-dev"].build(), degree, *lengths)


def test_a_class_without_a_plan_is_refused() -> None:
    with pytest.raises(Indivisible, match="Linear does not say how it may be split"):
        check(nn.Linear(2, 2), 2)
