"""What a served network runs on, and what its receipts say of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.compiler import backend
from inference.compiler.backend import Compiler, accelerate
from inference.compiler.families import FAMILIES, Size
from inference.compiler.serving import (
    chosen,
    lay_out,
    leaving,
    networks,
    replayed,
    serve,
    told,
)
from inference.models.contract import walk
from inference.models.family import Hoisted
from inference.models.glyph import Glyph
from inference.residency import Part
from inference.wire import WEIGHTS, Plan, Usage

INPUTS = {"prompt": "red heart", "size": 32, "steps": 3, "guidance": 3, "seed": 5, "count": 1}


@pytest.mark.parametrize(
    ("setting", "device", "runs"),
    [("", "cpu", "eager"), ("auto", "cuda", "templates"), ("eager", "cuda", "eager"),
     ("templates", "cpu", "templates"), ("graphs", "cuda", "graphs"), ("fp8", "cuda", "fp8")],
)  # fmt: skip
def test_an_operator_may_choose(
    setting: str, device: str, runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINORA_WORKER_PLAN", setting)
    assert chosen(device) == runs


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_WORKER_PLAN", "fastest")
    with pytest.raises(ValueError, match="it may be auto, eager, templates, graphs, fp8"):
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


class Turned(nn.Module):
    """A network with a table that follows from a size that no input tells."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.rope = Hoisted(nn.Identity())

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x * self.weight + self.rope(torch.arange(2.0)),)


def test_a_captured_forward_tells_sizes_apart_and_keeps_its_tables() -> None:
    network = Turned()
    graphed = replayed(network, "cpu")
    told = {}
    for size in ((1, 4), (2, 2)):
        with network.rope.at(size):
            assert torch.equal(network(x=torch.ones(2))[0], torch.tensor([1.0, 2.0]))
            told[size] = graphed.beside()
    keys = [key for key, _ in told.values()]
    assert keys[0] != keys[1]
    assert len(told[2, 2][1][0]) == 2  # both sizes' tables, which a graph holds as long as it lives
    assert graphed.reason == "no CUDA device"


def test_graphs_go_before_the_weights_that_they_read() -> None:
    network, compiler = Turned(), Compiler()
    compiler.graphed = replayed(network, "cpu")
    compiler.graphed.captured["bucket"] = (None, [], torch.ones(1), None)
    body = Part.of([network])
    before, seen = network.weight.data_ptr(), []

    def going() -> None:
        seen.append(network.weight.data_ptr())
        leaving([compiler])

    body.leaving = going
    body.leave()
    assert seen == [before]
    assert not compiler.graphed.captured


def test_a_picture_vae_is_laid_out_by_channels_and_comes_back_so() -> None:
    vae = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 3, 3))
    x = torch.randn(1, 3, 16, 16)
    before = vae(x)
    lay_out(vae)
    body = Part.of([vae])
    body.leave()
    body.come("cpu")
    assert vae[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert vae(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(vae(x), before)
    clip = nn.Sequential(nn.Conv3d(3, 8, 3), nn.Conv2d(8, 3, 3))
    lay_out(clip)
    assert clip[1].weight.is_contiguous()
