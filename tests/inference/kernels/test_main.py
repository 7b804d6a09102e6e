"""The report's code runs without a GPU, in miniature."""

from __future__ import annotations

import json

import pytest

from inference.kernels.__main__ import main
from inference.kernels.specimens import SPECIMENS
from inference.kernels.tiles import Tile, tile, trying


def said(*arguments: str) -> list[str]:
    lines: list[str] = []
    main(arguments, lines.append)
    return lines


def test_every_specimen_has_a_line_and_a_row() -> None:
    first, _, *lines, approximate, last = said()
    assert first == "No GPU: a dry run."
    assert len(lines) == len(SPECIMENS)
    rows, fp8 = json.loads(last)["rows"], json.loads(last)["fp8"]
    assert approximate.startswith("FLUX linear, E2: plain_ms ")
    assert 0 < fp8["fp8_error"] < 0.05
    assert [row["name"] for row in rows] == [one.name for one in SPECIMENS]
    assert all(row["same_bits"] and row["refused"] and row["bytes"] > 0 for row in rows)
    assert all("the reference ran" in line for line in lines)


def test_a_name_chooses_templates() -> None:
    assert [row["template"] for row in json.loads(said("norm")[-1])["rows"]] == ["norm"] * 3


def test_an_unknown_name_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        said("softmax")
    assert "no template is called softmax; there are " in capsys.readouterr().err


def test_what_sm_90_would_run_is_shown() -> None:
    _, *lines = said("--compiled", "gated_residual")
    assert [line.split("gated_residual.kernel")[0].strip() for line in lines] == [
        "FLUX gated residual",
        "Wan gated residual",
    ]
    assert all("st v4.b32" in line for line in lines)


def test_a_width_takes_the_tile_of_the_next_one_that_is_kept() -> None:
    assert tile("norm", 512) == Tile(4, 4)
    assert tile("norm", 3072) == tile("norm", 4096) == Tile(1, 4)
    assert tile("norm", 5120) == tile("norm", 16_384) == Tile(1, 8)
    with trying(Tile(2, 16)) as asked:
        assert tile("norm", 3072) == Tile(2, 16)
    assert asked == {("norm", 3072)}
    assert tile("norm", 3072) == Tile(1, 4)
