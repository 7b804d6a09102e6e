"""A module becomes a program that is proved before it is used, and read from disk the next time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from inference.compiler import cache, program
from inference.compiler.cache import Cache, key
from inference.compiler.parity import ParityError
from inference.compiler.program import Refused, compile_module
from inference.kernels import TEMPLATES, Exactness


class Block(nn.Module):
    """Modulated norm, SwiGLU, gated residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32, elementwise_affine=False)
        self.up, self.down = nn.Linear(32, 128), nn.Linear(64, 32)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, gate: Tensor) -> Tensor:
        inner, other = self.up(self.norm(x) * (1 + scale) + shift).chunk(2, -1)
        gated: Tensor = x + gate * self.down(nn.functional.silu(inner) * other)
        return gated


@pytest.fixture
def block() -> nn.Module:
    torch.manual_seed(0)
    return Block().bfloat16().eval()


def inputs(tokens: int = 9, batch: int = 2) -> dict[str, Any]:
    torch.manual_seed(1)
    wide, narrow = (batch, tokens, 32), (batch, 1, 32)
    shapes = {"x": wide, "scale": narrow, "shift": narrow, "gate": narrow}
    return {name: torch.randn(*shape).bfloat16() for name, shape in shapes.items()}


def test_a_program_gives_the_modules_bits_and_says_how_it_was_proved(block: nn.Module) -> None:
    made = compile_module(block, inputs())
    assert torch.equal(made.run(**inputs()), block(**inputs()))
    assert made.plan["report"]["templates"] == {
        "activation": 1, "gated_residual": 1, "modulate": 1,
    }  # fmt: skip
    assert made.plan["parity"] == {
        "exactness": "E0", "same_bits": True, "ours": None, "eager": None,
    }  # fmt: skip


def test_one_program_serves_every_length(block: nn.Module) -> None:
    made = compile_module(block, inputs(), dynamic={"x": {1: Dim("tokens")}} | dict.fromkeys(
        ("scale", "shift", "gate")
    ))  # fmt: skip
    for tokens in (3, 9, 50):
        assert torch.equal(made.run(**inputs(tokens)), block(**inputs(tokens)))


def test_a_second_start_reads_the_program(
    block: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Cache(tmp_path / "programs")
    made = compile_module(block, inputs(), kept=kept)
    monkeypatch.setattr(program, "capture", None)
    again = compile_module(block, inputs(), kept=kept)
    assert again.plan == made.plan
    assert torch.equal(again.run(**inputs()), made.run(**inputs()))
    assert len(list(kept.folder.iterdir())) == 1


def test_the_key_follows_everything_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    base = key({"width": 32}, inputs())
    assert key({"width": 32}, inputs()) == base
    others = [
        key({"width": 33}, inputs()),
        key({"width": 32}, inputs(10)),
        key({"width": 32}, inputs() | {"x": inputs()["x"].float()}),
        key({"width": 32}, inputs() | {"x": inputs()["x"].mT.contiguous().mT}),
        key({"width": 32}, inputs(), {"x": None}),
    ]
    for name, told in [("device_name", "H200"), ("version", "9"), ("source_hash", "0")]:
        with monkeypatch.context() as other:
            other.setattr(cache, name, lambda *_, told=told: told)
            others.append(key({"width": 32}, inputs()))
    assert len({base, *others}) == len(others) + 1


def test_a_plan_that_is_not_what_it_claims_is_blocked(
    block: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(module: nn.Module, given: dict[str, Any], dynamic: Any) -> Any:
        return torch.export.export(Wrong(module), (), given, strict=True)

    monkeypatch.setattr(program, "capture", wrong)
    kept = Cache(tmp_path)
    with pytest.raises(ParityError, match="E0: "):
        compile_module(block, inputs(), kept=kept)
    assert list(kept.folder.iterdir()) == []


class Wrong(nn.Module):
    """Almost the block."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, gate: Tensor) -> Tensor:
        found: Tensor = self.block(x, scale, shift, gate * 1.01)
        return found


def test_a_looser_class_than_allowed_is_refused(
    block: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "on_gpu", lambda _: True)
    assert TEMPLATES["modulate"].exactness == Exactness.E1
    with pytest.raises(Refused, match="the plan is E1; at most E0 is allowed"):
        compile_module(block, inputs(), allow=Exactness.E0)
