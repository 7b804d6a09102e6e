"""One engine: which models stay loaded, what a job gives, and where it can be stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest
from PIL import Image

from inference.engine import Engine, OverBudget, Stopped, UnknownModel, fill
from inference.models.contract import Loop, Step
from inference.wire import Job, describe

SIZES = {"small": 40, "middle": 60, "large": 90, "huge": 200}


class Tiny:
    """A family of models that take bytes and draw white squares."""

    def __init__(self, size: int) -> None:
        self.bytes = size

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        return cls(SIZES[folder.name])

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs

    def denoise(self, work: dict[str, Any]) -> Loop:
        for index in range(work["steps"]):
            yield Step(index + 1, work["steps"], None)

    def decode(self, work: dict[str, Any]) -> list[Image.Image]:
        return [Image.new("RGB", (4, 4), "white")]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    for slug, size in SIZES.items():
        (tmp_path / slug).mkdir()
        about = {
            "facts": {"bytes": size},
            "inputs": {"properties": {"steps": {"default": 3}}},
            "output": {"content_type": "image/png"},
        }
        (tmp_path / slug / "kinora.json").write_text(json.dumps(about))
    registry = dict.fromkeys(SIZES, f"{__name__}.Tiny")
    return Engine("cpu", 150, registry, tmp_path)


def test_least_recently_used_models_leave_first_by_bytes(engine: Engine) -> None:
    engine.ensure("small")
    engine.ensure("middle")
    assert engine.resident_bytes == 100
    engine.ensure("small")
    engine.ensure("large")  # 40 + 60 + 90 > 150: the older one leaves, the other stays
    assert engine.resident == ["small", "large"]
    engine.ensure("middle")
    assert engine.resident == ["large", "middle"]
    assert engine.resident_bytes <= 150


def test_model_that_never_fits_drops_nothing(engine: Engine) -> None:
    engine.ensure("small")
    with pytest.raises(OverBudget):
        engine.ensure("huge")
    assert engine.resident == ["small"]


def test_unknown_model_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownModel):
        engine.ensure("absent")


def test_job_runs_every_step_and_measures_itself(engine: Engine) -> None:
    seen: list[Step] = []
    result = engine.run(Job("run_1", 1, "r", "small", {}), seen.append)
    assert [step.index for step in seen] == [1, 2, 3]
    assert result.files[0].startswith(b"\x89PNG")
    assert (result.usage.outputs, result.usage.steps) == (1, 3)
    assert result.usage.gpu_seconds > 0
    assert result.usage.peak_bytes > 0


def test_stopping_ends_at_that_step(engine: Engine) -> None:
    seen: list[int] = []

    def stop(step: Step) -> None:
        seen.append(step.index)
        if step.index == 2:
            raise Stopped

    with pytest.raises(Stopped):
        engine.run(Job("run_1", 1, "r", "small", {"steps": 50}), stop)
    assert seen == [1, 2]


def test_defaults_are_filled_and_the_seed_follows_the_run() -> None:
    schema = describe("glyph")["inputs"]
    first, again = (fill(schema, {"prompt": "star", "seed": None}, "run_a") for _ in range(2))
    assert first == again
    assert (first["steps"], first["guidance"], first["count"]) == (20, 3, 1)
    assert first["seed"] != fill(schema, {"prompt": "star"}, "run_b")["seed"]
    assert fill(schema, {"prompt": "star", "seed": 0}, "run_a")["seed"] == 0
