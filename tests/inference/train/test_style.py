"""Styles: what they do to pictures, and that an adapter fits the engine's own reader."""

from __future__ import annotations

from pathlib import Path

import torch

from inference.lora import Adapters
from inference.train.pair import Pair
from inference.train.style import outline, pastel, stored, widened


def picture() -> torch.Tensor:
    images = torch.ones(1, 3, 64, 64)
    images[:, 1:, 16:48, 16:48] = -0.8  # a red square on white
    return images


def test_an_outline_is_dark_at_edges_and_white_else() -> None:
    drawn = outline(picture())
    assert drawn[0, :, 32, 16].max() < -0.5
    assert drawn[0, :, 32, 32].min() == 1
    assert drawn[0, :, 2, 2].min() == 1


def test_pastel_is_paler_on_cream() -> None:
    drawn = pastel(picture())
    inside, ground = drawn[0, :, 32, 32], drawn[0, :, 2, 2]
    assert inside[0] - inside[1] < 0.9
    assert inside.min() > 0
    assert ground[0] > ground[2] > 0.7


def test_a_stored_adapter_fits_and_is_small(tmp_path: Path) -> None:
    network = Pair(20, 8).network
    layers = widened(network)
    for low in layers.values():
        torch.nn.init.normal_(low.up)
    path = tmp_path / "some.safetensors"
    stored(layers, path)
    adapter = Adapters(Pair(20, 8).network, most=8).read(path)
    assert adapter.rank == 4
    assert path.stat().st_size <= 500_000
