"""Runs with adapters of the operator's folder: their effect, side by side, and no trace of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from inference import adapting
from inference.adopt import Adoption, about, adopt
from inference.compiler.serving import networks
from inference.engine import Engine
from inference.lora import Adapters
from inference.models import find
from inference.models.contract import Step, Unusable
from inference.models.folder import Unsuitable
from inference.wire import Job
from tests.inference.models.test_every_family import CASES, Case
from tests.inference.models.walking import latents

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Weights = dict[str, Tensor]
RANKS = {"ink": 4, "clay": 2}


def drawn(network: nn.Module, rank: int, seed: int, prefix: str = "transformer") -> Weights:
    """An adapter of every second linear layer of a network."""
    draw = torch.Generator().manual_seed(seed)
    linear = [(name, one) for name, one in network.named_modules() if type(one) is nn.Linear]
    made = {}
    for name, one in linear[::2]:
        down = torch.randn(rank, one.in_features, generator=draw) / one.in_features**0.5
        made[f"{prefix}.{name}.lora_A.weight"] = down
        made[f"{prefix}.{name}.lora_B.weight"] = (
            torch.randn(one.out_features, rank, generator=draw) / 4
        )
    return made


def with_loras(folder: Path, model: Any, prefix: str = "transformer") -> Path:
    (folder / adapting.FOLDER).mkdir()
    for seed, (name, rank) in enumerate(RANKS.items()):
        path = folder / adapting.FOLDER / f"{name}.safetensors"
        save_file(drawn(networks(model)[0], rank, seed, prefix), path)
    return folder


def plain(case: Case, saved: Any, place: Path) -> Path:
    return Path(shutil.copytree(saved(case.family, case.pipeline), place / f"tiny-{case.family}"))


def asking(**weights: float) -> list[dict[str, Any]]:
    return [{"name": name, "weight": weight} for name, weight in weights.items()]


def run(engine: Engine, slug: str, inputs: dict[str, Any], loras: Any = None) -> Tensor:
    """The latent that a run ends with."""
    told = inputs if loras is None else inputs | {"loras": loras}
    running = engine.begin(Job("run_1", 1, "r", slug, told), lambda _: None)
    work = running.work
    while not running.walk.over:
        engine.turn()
    engine.finish(running)
    found: Tensor = work.pictures[0].latent
    return found


def merged(case: Case, folder: Path, name: str, weight: float) -> Tensor:
    """What a run draws where an adapter was added to the weights themselves."""
    model = find(case.family).load(folder, "cpu")
    network = networks(model)[0]
    adapter = Adapters(network, most=8).read(folder / adapting.FOLDER / f"{name}.safetensors")
    with torch.no_grad():
        for layer, part in adapter.layers.items():
            network.get_submodule(layer).weight += weight * part.scale * part.up @ part.down
    return latents(model, case.inputs)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)
def test_an_adapter_does_what_its_weights_say_and_leaves_no_trace(
    case: Case, saved: Any, ours: Any, tmp_path: Path
) -> None:
    folder = plain(case, saved, tmp_path)
    bare = latents(ours(case.family, case.family, case.pipeline), case.inputs)[0]
    prefix = "unet" if case.family == "sdxl" else "transformer"
    with_loras(folder, ours(case.family, case.family, case.pipeline), prefix)
    adopt(Adoption(case.family, folder))
    engine = Engine("cpu", weights=tmp_path)
    slug = folder.name
    assert torch.equal(run(engine, slug, case.inputs), bare)
    ink = run(engine, slug, case.inputs, asking(ink=0.5))
    expected = merged(case, folder, "ink", 0.5)
    off, moved = (ink - expected).norm(), (expected - bare).norm()
    assert off < 0.01 * moved, "other roundings are less than a hundredth of the effect"
    assert torch.equal(run(engine, slug, case.inputs), bare)
    assert torch.equal(run(engine, slug, case.inputs, asking(ink=0.5)), ink)


@pytest.fixture
def flux() -> Case:
    return next(case for case in CASES if case.family == "flux")


@pytest.fixture
def folder(flux: Case, saved: Any, ours: Any, tmp_path: Path) -> Path:
    return with_loras(plain(flux, saved, tmp_path), ours("flux", "flux", flux.pipeline))


@pytest.fixture
def engine(folder: Path) -> Engine:
    adopt(Adoption("flux", folder))
    return Engine("cpu", weights=folder.parent, join_tokens=10**6)


def test_runs_of_different_adapters_share_one_resident_model(flux: Case, engine: Engine) -> None:
    """Walked in turns, each draws what it draws alone."""
    asked = [None, asking(ink=1), asking(clay=0.7), asking(ink=1), asking(clay=0.5, ink=-0.5)]
    alone = [run(engine, "tiny-flux", flux.inputs, one) for one in asked]
    assert [torch.equal(alone[1], one) for one in alone] == [False, True, False, True, False]
    begun = [
        engine.begin(
            Job(f"run_{place}", 1, "r", "tiny-flux", flux.inputs | {"loras": one or []}),
            lambda _: None,
        )
        for place, one in enumerate(asked)
    ]
    works = [running.work for running in begun]
    while engine.running:
        for running in engine.turn():
            engine.finish(running)
    assert all(
        torch.equal(work.pictures[0].latent, one) for work, one in zip(works, alone, strict=True)
    )
    assert engine.resident == ["tiny-flux"]


def test_what_is_on_sale_says_which_adapters_there_are(flux: Case, folder: Path) -> None:
    told = about(Adoption("flux", folder))
    rules = jsonschema_rs.validator_for(told["inputs"])
    usual = {"prompt": "a cat"}
    for fine in ([], [{"name": "ink"}], asking(ink=-1, clay=2)):
        rules.validate(usual | {"loras": fine})
    wrong = [[{"name": "oil"}], [{"weight": 1}], asking(ink=5), [{"name": "ink"}] * 4, ["ink"]]
    assert not any(rules.is_valid(usual | {"loras": one}) for one in wrong)
    shutil.rmtree(folder / adapting.FOLDER)
    without = about(Adoption("flux", folder))
    assert "loras" not in without["inputs"]["properties"]
    room = told["facts"]["cpu_bytes"] - without["facts"]["cpu_bytes"]
    assert room == 2 * (told["facts"]["bytes"] - without["facts"]["bytes"]) > 0


def test_bytes_that_were_announced_are_those_of_the_loaded_model(engine: Engine) -> None:
    model = engine.ensure("tiny-flux")
    assert engine.describe("tiny-flux")["facts"]["cpu_bytes"] <= model.bytes
    assert model.bytes < 1.02 * engine.describe("tiny-flux")["facts"]["cpu_bytes"]


@pytest.mark.parametrize(
    ("asked", "field", "why"),
    [
        ([{"name": "oil"}], "loras.0.name", "names no adapter of this model; it has clay, ink."),
        ([{"name": "ink"}, {"name": "../ink"}], "loras.1.name", "names no adapter"),
        ([{"name": "ink", "weight": "much"}], "loras.0.weight", "must be a number."),
        ([{"name": "ink"}] * 4, "loras", "must be a list of at most 3 adapters."),
        ("ink", "loras", "must be a list"),
        ([{"name": "ink"}] * 3, "loras", "has ranks that add up to 12; allowed are 6."),
    ],
)
def test_a_wrong_request_is_refused_by_its_field(
    flux: Case, engine: Engine, asked: Any, field: str, why: str
) -> None:
    bare = run(engine, "tiny-flux", flux.inputs)
    with pytest.raises(Unusable) as caught:
        run(engine, "tiny-flux", flux.inputs, asked)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"inputs.{field} {why}")
    assert torch.equal(run(engine, "tiny-flux", flux.inputs), bare)


def test_a_model_without_adapters_takes_none(flux: Case, saved: Any, tmp_path: Path) -> None:
    folder = plain(flux, saved, tmp_path)
    adopt(Adoption("flux", folder))
    engine = Engine("cpu", weights=tmp_path)
    with pytest.raises(Unusable, match=r"inputs\.loras is not an input here"):
        run(engine, folder.name, flux.inputs, asking(ink=1))


def spoil(folder: Path, change: Callable[[Weights], Weights]) -> None:
    save_file(
        change({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 8)}),
        folder / adapting.FOLDER / "ink.safetensors",
    )


def test_an_adapter_that_was_spoilt_after_the_sale_ends_runs_with_the_reason(
    flux: Case, engine: Engine, folder: Path
) -> None:
    spoil(folder, lambda held: held)
    with pytest.raises(Unusable, match=r"inputs\.loras\.0\.name cannot be used: .* needs lora_A"):
        run(engine, "tiny-flux", flux.inputs, asking(ink=1))
    (folder / adapting.FOLDER / "clay.safetensors").unlink()
    with pytest.raises(Unusable, match="cannot be used: its file is not here"):
        run(engine, "tiny-flux", flux.inputs, asking(clay=1))


def test_adapters_that_do_not_fit_are_named_when_a_folder_is_adopted(folder: Path) -> None:
    spoil(folder, lambda held: {"text_encoder.layer.lora_A.weight": torch.ones(2, 8)})
    (folder / adapting.FOLDER / "Not A Name.safetensors").write_bytes(b"")
    with pytest.raises(Unsuitable) as caught:
        adopt(Adoption("flux", folder))
    assert str(caught.value).splitlines() == [
        "loras/Not A Name.safetensors: 'Not A Name' is no name: use a-z, 0-9 and -, at most 50",
        "loras/ink.safetensors: the network has no linear layer text_encoder.layer",
    ]
    assert not (folder / "kinora.json").exists()


def test_glyph_takes_adapters_from_its_folder(tmp_path: Path) -> None:
    weights = Path(adapting.__file__).parent / "weights" / "glyph"
    folder = shutil.copytree(weights, tmp_path / "glyph")
    shutil.rmtree(folder / adapting.FOLDER, ignore_errors=True)
    with_loras(folder, find("glyph").load(folder, "cpu"))
    told = json.loads((folder / "kinora.json").read_text())
    rule = told["inputs"]["properties"]
    rule["loras"] = {"items": {"properties": {"name": {"enum": ["ink", "clay"]}}}}
    (folder / "kinora.json").write_text(json.dumps(told))
    engine, steps = Engine("cpu", weights=tmp_path), list[Step]()
    inputs = {"prompt": "red heart", "seed": 7, "steps": 4}

    def drawing(loras: Any) -> bytes:
        job = Job("run_1", 1, "r", "glyph", inputs | {"loras": loras})
        return engine.run(job, steps.append).files[0]

    bare = drawing([])
    assert drawing(asking(ink=1)) != bare
    assert drawing([]) == bare
