"""A device that runs out of memory fails the run that needs too much, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from inference.attempt import code_of
from inference.engine import Engine
from inference.joining import rows
from inference.models.contract import Forward, Loop, Step
from inference.wire import Job


class Device:
    """A budget of rows, which a test sets."""

    most_rows: ClassVar[int] = 100
    failures: ClassVar[list[str]] = []  # verbs that fail once


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > Device.most_rows:
            raise torch.OutOfMemoryError("no memory for so many rows")
        return torch.stack([row * row for row in x])


class Hungry:
    """A family whose verbs run out of memory as told."""

    bytes = 1

    def __init__(self) -> None:
        self.network = Square()

    @classmethod
    def load(cls, folder: Path, device: str) -> Self:
        return cls()

    def meet(self, verb: str) -> None:
        if verb in Device.failures:
            Device.failures.remove(verb)
            raise MemoryError(verb)

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.meet("prepare")
        return {"x": torch.full((inputs["rows"], 2), 0.5), "steps": 3}

    def denoise(self, work: dict[str, Any]) -> Loop:
        for index in range(work["steps"]):
            asked = Forward(self.network, {"x": work["x"]}, {}, tokens=1)
            assert rows(asked) == len(work["x"])
            answers = yield [asked]
            work["x"] = (answers or [])[0]
            yield Step(index + 1, work["steps"], None)

    def decode(self, work: dict[str, Any]) -> list[Image.Image]:
        self.meet("decode")
        return [Image.new("L", (2, 2), int(work["x"].sum() * 1000) % 256)]


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    Device.most_rows, Device.failures = 100, []
    (tmp_path / "hungry").mkdir()
    about = {
        "facts": {"bytes": 1},
        "inputs": {"properties": {"rows": {"default": 1}}},
        "output": {"content_type": "image/png"},
    }
    (tmp_path / "hungry" / "kinora.json").write_text(json.dumps(about))
    return Engine("cpu", 10, {"hungry": f"{__name__}.Hungry"}, tmp_path, join_tokens=100)


def job(name: str, rows: int = 1) -> Job:
    return Job(name, 1, "r", "hungry", {"rows": rows})


def ends(engine: Engine, *jobs: Job) -> dict[str, str]:
    """Run jobs together.  → "drawn", or the code of why not."""
    found = {}
    for one in jobs:
        engine.begin(one, lambda _: None)
    while engine.running:
        for running in engine.turn():
            try:
                engine.finish(running)
                found[running.job.run] = "drawn"
            except Exception as error:
                found[running.job.run] = code_of(error)
    return found


def test_runs_that_fit_alone_go_on_alone(engine: Engine) -> None:
    Device.most_rows = 1
    assert ends(engine, job("a"), job("b"), job("c")) == dict.fromkeys("abc", "drawn")


def test_only_the_run_that_never_fits_fails(engine: Engine) -> None:
    Device.most_rows = 2
    assert ends(engine, job("a"), job("b", rows=3), job("c")) == {
        "a": "drawn",
        "b": "out_of_memory",
        "c": "drawn",
    }
    assert ends(engine, job("d", rows=2)) == {"d": "drawn"}  # the engine lives on


@pytest.mark.parametrize("verb", ["prepare", "decode"])
def test_a_verb_is_tried_again_once_with_empty_caches(engine: Engine, verb: str) -> None:
    Device.failures = [verb]
    assert ends(engine, job("a")) == {"a": "drawn"}
    assert Device.failures == []


def test_a_verb_that_fails_twice_fails_its_run_and_lets_go_of_the_model(engine: Engine) -> None:
    Device.failures = ["decode", "decode"]
    assert ends(engine, job("a")) == {"a": "out_of_memory"}
    Device.failures = ["prepare", "prepare"]
    with pytest.raises(MemoryError):
        engine.begin(job("b"), lambda _: None)
    assert engine.residency.entries["hungry"].users == 0
    assert ends(engine, job("c")) == {"c": "drawn"}
