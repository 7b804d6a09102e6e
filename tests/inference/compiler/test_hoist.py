"""Tables of positions are made once per size and stay eager's, bit for bit."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

from inference.compiler.families import FAMILIES, Size
from inference.compiler.hoist import MOST, Table, hoist

SIZES = [Size(1, 1, 4, 4, 5), Size(1, 2, 4, 6, 5), Size(2, 1, 4, 4, 5)]


@pytest.mark.parametrize("name", ["wan-2.1-1.3b", "ltx-video-2b", "hunyuan-video"])
def test_a_table_is_made_once_per_size_and_keeps_its_bits(name: str) -> None:
    family = FAMILIES[name]
    module = family.build(num_layers=1)
    given = [family.example(size) for size in SIZES]
    with torch.no_grad():
        eager = [module(**one)[0] for one in given]
        assert hoist(module) == hoist(module) == 1
        (table,) = [one.forward for one in module.modules() if isinstance(one.forward, Table)]
        with patch.object(table, "forward", side_effect=table.forward) as made:
            ours = [module(**one)[0] for one in [*given, *given]]
    assert made.call_count == len(given)
    assert all(map(torch.equal, ours, [*eager, *eager]))


@pytest.mark.parametrize("name", ["flux-1-dev", "qwen-image", "sdxl"])
def test_what_follows_from_values_is_left_alone(name: str) -> None:
    assert hoist(FAMILIES[name].build()) == 0


def test_tensors_of_positions_are_not_remembered_and_old_sizes_go() -> None:
    calls: list[int] = []
    table = Table(lambda x, positions=None: calls.append(len(x)))
    for _ in range(2):
        table(torch.ones(1), positions=torch.ones(1))
    assert calls == [1, 1]
    for size in range(2, MOST + 3):
        table(torch.ones(size))
    table(torch.ones(2))
    assert calls[-1] == 2
    assert len(table.made) == MOST
