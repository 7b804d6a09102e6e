"""What a served network runs on, and what its receipts say of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.compiler import backend
from inference.compiler.backend import Compiler, accelerate
from inference.compiler.families import FAMILIES, Size
from inference.compiler.serving import chosen, networks, serve, told
from inference.models.contract import walk
from inference.models.glyph import Glyph
from inference.wire import WEIGHTS, Plan, Usage

INPUTS = {"prompt": "red heart", "size": 32, "steps": 3, "guidance": 3, "seed": 5, "count": 1}


@pytest.mark.parametrize(
    ("setting", "device", "runs"),
    [("", "cpu", "eager"), ("auto", "cuda", "templates"), ("eager", "cuda", "eager"),
     ("templates", "cpu", "templates"), ("fp8", "cuda", "fp8")],
)  # fmt: skip
def test_an_operator_may_choose(
    setting: str, device: str, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINORA_WORKER_PLAN", setting)
    assert chosen(device) == runs


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_WORKER_PLAN", "fastest")
    with pytest.raises(ValueError, match="it may be auto, eager, templates, fp8"):
        chosen("cpu")


def drawn(glyph: Glyph) -> Tensor:
    work = glyph.prepare(INPUTS)
    for _ in walk(glyph.denoise(work)):
        pass
    return torch.cat(work.latents)


def test_glyph_draws_the_same_picture_through_the_compiler(
    glyph: Glyph, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serve(glyph, "cpu") == []
    monkeypatch.setenv("KINORA_WORKER_PLAN", "templates")
    other = Glyph.load(WEIGHTS / "glyph", "cpu")
    compilers = serve(other, "cpu")
    assert torch.equal(drawn(other), drawn(glyph))
    assert told(compilers) == Plan("traced", "E0")
    (plan,) = compilers[0].plans
    assert {letter: row.sites for letter, row in plan.report.patterns.items() if row.sites} == {
        "A": 24, "B": 17, "C": 16, "D": 12, "E": 22,
    }  # fmt: skip


def test_a_graph_that_cannot_be_planned_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise NotImplementedError("no such operator")

    monkeypatch.setattr(backend, "trace", broken)
    family = FAMILIES["wan-2.1-1.3b"]
    module, inputs = family.build(num_layers=1), family.example(Size(1, 1, 4, 4, 5))
    with torch.no_grad():
        eager = module(**inputs)[0]
        compiler = accelerate(module)
        assert torch.equal(module(**inputs)[0], eager)
    assert told([compiler]) == Plan("eager", "E0")
    assert compiler.summary()["failures"] == ["NotImplementedError: no such operator"]


def test_a_model_of_several_networks_tells_the_loosest() -> None:
    class Two:
        def __init__(self) -> None:
            self.network = nn.Linear(2, 2)
            self.parts = {"transformer": FAMILIES["wan-2.1-1.3b"].build(num_layers=1), "words": 3}
            self.vae = nn.Linear(2, 2)

    found = networks(two := Two())
    assert found == [two.network, two.parts["transformer"]]

    class Said(Compiler):
        def summary(self) -> dict[str, str]:
            return {"name": self.name, "exactness": self.loose}

    eager, fast = Said(), Said()
    eager.name, eager.loose, fast.name, fast.loose = "eager", "E0", "templates", "E1"
    assert told([eager, fast]) == Plan("templates in part", "E1")
    assert told([]) == Plan("eager", "E0")


def test_a_plan_goes_through_the_wire() -> None:
    usage = Usage(1.0, 1, 4, 5, Plan("templates", "E1"))
    assert Usage.from_json(usage.to_json()) == usage
    assert Usage.from_json({"steps": 2}).plan is None
