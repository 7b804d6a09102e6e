"""A plan that is not what it claims never serves: eager runs in its place, and it is said why."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace

from inference.compiler import backend
from inference.compiler.backend import accelerate
from inference.compiler.families import FAMILIES, Size
from inference.compiler.gate import Gate, widened
from inference.compiler.parity import ParityError
from inference.compiler.plan import Plan, rewrite
from inference.kernels import Exactness

SMALL = Size(1, 1, 4, 4, 5)
FAMILY = FAMILIES["wan-2.1-1.3b"]


def run(allow: Exactness = Exactness.E1) -> tuple[bool, dict[str, Any]]:
    """Accelerate a tiny model and run it twice.  → whether bits are eager's, and the summary."""
    torch.manual_seed(0)
    module = FAMILY.build(num_layers=2)
    inputs = FAMILY.example(SMALL)
    with torch.no_grad():
        eager = module(**inputs)[0]
        compiler = accelerate(module, allow)
        same = all(torch.equal(module(**inputs)[0], eager) for _ in range(2))
    return same, compiler.summary()


def test_a_plan_that_keeps_its_word_is_used() -> None:
    same, told = run()
    assert same
    assert (told["name"], told["exactness"]) == ("templates", "E0")
    (graph,) = told["graphs"]
    assert graph["verdict"] == {
        "used": True, "reason": "",
        "parity": {"exactness": "E0", "same_bits": True, "ours": None, "eager": None},
    }  # fmt: skip
    assert graph["covered"] > 0.9


def test_a_wrong_plan_is_blocked_and_eager_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoiled(module: GraphModule, **how: bool) -> Plan:
        plan = rewrite(module, **how)
        (output,) = module.graph.find_nodes(op="output")
        with module.graph.inserting_before(output):
            wrong = module.graph.call_function(torch.mul, (output.args[0][0], 1.01))
        output.args = ((wrong,),)
        module.recompile()
        return plan

    monkeypatch.setattr(backend, "rewrite", spoiled)
    with caplog.at_level(logging.WARNING, "inference.compiler"):
        same, told = run()
    assert same
    assert told["name"] == "eager"
    verdict = told["graphs"][0]["verdict"]
    assert not verdict["used"]
    assert verdict["reason"].startswith("ParityError: E0: ")
    assert "a plan is not used, eager runs: ParityError" in caplog.text


def test_a_plan_that_cannot_run_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: GraphModule, **how: bool) -> Plan:
        plan = rewrite(module, **how)
        call = next(one for one in module.graph.nodes if "kinora" in str(one.target))
        call.args = call.args[:1]
        module.recompile()
        return plan

    monkeypatch.setattr(backend, "rewrite", broken)
    same, told = run()
    assert same
    assert told["name"] == "eager"
    assert "missing value for argument" in told["graphs"][0]["verdict"]["reason"]


def test_lack_of_memory_is_not_a_verdict() -> None:
    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    module = symbolic_trace(nn.Linear(2, 2))
    gate = Gate(Plan((), rewrite(module).report), module, module, Exactness.E1)
    module.forward = full
    with pytest.raises(torch.OutOfMemoryError):
        gate(torch.ones(1, 2))
    assert gate.verdict is None


class Narrow(nn.Module):
    """Rounds to bfloat16 in its middle."""

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.matmul((x * 3).to(torch.bfloat16), weight)


def test_the_truth_rounds_nowhere() -> None:
    x, weight = torch.randn(4, 64), torch.randn(64, 64)
    found = widened(symbolic_trace(Narrow()))(x, weight)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, (x * 3) @ weight)


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (1.02, False)])
def test_rounding_otherwise_passes_and_noise_does_not(factor: float, *, passes: bool) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor, weight: Tensor) -> Tensor:
            return (torch.matmul(x.float() * 3, weight.float()) * factor).to(torch.bfloat16)

    torch.manual_seed(0)
    x, weight = torch.randn(4, 64).bfloat16(), torch.randn(64, 64).bfloat16()
    eager = symbolic_trace(Narrow())
    gate = Gate(Plan((), rewrite(eager).report), eager, symbolic_trace(Other()), Exactness.E1)
    gate.exactness = Exactness.E1
    if passes:
        found = gate.compare((x, weight))
        assert found.ours is not None
        assert found.eager is not None
        assert found.ours < found.eager
    else:
        with pytest.raises(ParityError, match="E1: relative L2"):
            gate.compare((x, weight))


def test_a_looser_plan_than_allowed_never_runs() -> None:
    module = symbolic_trace(nn.Linear(2, 2))
    report = rewrite(module).report
    report.exactness = Exactness.E2
    gate = Gate(Plan((), report), module, module, Exactness.E1)
    gate(torch.ones(1, 2))
    assert gate.verdict is not None
    assert gate.verdict.reason == "the plan is E2, not E1"
