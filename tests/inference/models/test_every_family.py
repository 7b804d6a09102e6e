"""What holds for every family: seeds, counts, cancels, previews, schemas, refusals, adoption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import torch
from PIL import Image

from inference import media
from inference.models import find
from inference.models import folder as folders
from inference.models.contract import Clip, Step, walk
from inference.models.folder import Unsuitable
from tests.inference.models import (
    test_flux,
    test_flux2,
    test_hunyuan,
    test_ltx,
    test_qwen,
    test_sd3,
    test_sdxl,
    test_wan,
)
from tests.inference.models.walking import latents, pictures, walked

# diffusers' Euler scheduler hands a tensor to numpy in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A family by name, its tiny pipeline, and inputs of a small run with a preview."""

    family: str
    pipeline: Callable[[], Any]
    inputs: Inputs
    network: str = "transformer"


CASES = [
    Case("flux", test_flux.pipeline, test_flux.INPUTS),
    Case("flux2", test_flux2.klein, test_flux2.INPUTS),
    Case("hunyuan", test_hunyuan.pipeline, test_hunyuan.INPUTS),
    Case("ltx", test_ltx.pipeline, test_ltx.INPUTS),
    Case("qwen", test_qwen.pipeline, test_qwen.INPUTS),
    Case("sd3", test_sd3.pipeline, test_sd3.INPUTS),
    Case("sdxl", test_sdxl.pipeline, test_sdxl.INPUTS, network="unet"),
    Case("wan", test_wan.pipeline, test_wan.INPUTS),
]


@pytest.fixture(params=CASES, ids=lambda case: case.family)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def model(case: Case, ours: Any) -> Any:
    return ours(case.family, case.family, case.pipeline)


@pytest.fixture
def copied(case: Case, saved: Any, tmp_path: Path) -> Path:
    """The family's folder, to be spoilt."""
    return Path(shutil.copytree(saved(case.family, case.pipeline), tmp_path / "copy"))


def files(model: Any, inputs: Inputs) -> list[bytes]:
    """Pictures as files; of clips the frames, which x264 writes another way where they are tiny."""
    return [
        drawn.frames.numpy().tobytes() if isinstance(drawn, Clip) else media.encode(drawn)
        for drawn in pictures(model, inputs)
    ]


def test_the_same_seed_makes_the_same_bytes_whatever_the_count(case: Case, model: Any) -> None:
    seed = case.inputs["seed"]
    alone = [files(model, case.inputs | {"seed": seed + place})[0] for place in range(2)]
    assert files(model, case.inputs | {"count": 2}) == alone
    assert alone[0] != alone[1]


def test_two_runs_walked_in_turns_are_two_runs(case: Case, model: Any) -> None:
    """Nothing of a run lives in the model, so the engine may walk several at once."""
    other = case.inputs | {"seed": 99, "steps": 3}
    alone = [latents(model, inputs)[0] for inputs in (case.inputs, other)]
    works = [model.prepare(inputs) for inputs in (case.inputs, other)]
    walks = [walk(model.denoise(work)) for work in works]
    for _ in zip_longest(*walks):
        pass
    for work, expected in zip(works, alone, strict=True):
        assert torch.equal(work.pictures[0].latent, expected)


def test_the_prompt_matters(case: Case, model: Any) -> None:
    assert not torch.equal(
        latents(model, case.inputs)[0], latents(model, case.inputs | {"prompt": "blue"})[0]
    )


def test_a_run_is_left_after_any_step_and_the_next_is_as_ever(case: Case, model: Any) -> None:
    loop = model.denoise(model.prepare(case.inputs))
    taken = next(walk(loop))
    loop.close()
    assert (taken.index, taken.steps) == (1, case.inputs["steps"])
    assert torch.equal(latents(model, case.inputs)[0], latents(model, case.inputs)[0])


def test_previews_come_every_few_steps_but_not_at_the_end(case: Case, model: Any) -> None:
    steps: list[Step] = list(walk(model.denoise(model.prepare(case.inputs))))
    assert [step.index for step in steps] == list(range(1, case.inputs["steps"] + 1))
    shown = {step.index: step.preview for step in steps if step.preview}
    assert list(shown) == [4]
    assert isinstance(shown[4], Image.Image)
    assert len(shown[4].getcolors(10**6)) > 1


def test_work_is_counted_in_tokens_and_steps(case: Case, model: Any) -> None:
    work = walked(model, case.inputs)
    asked = next(model.denoise(model.prepare(case.inputs)))
    assert [forward.tokens for forward in asked] == [work.tokens] * len(asked)
    expected = work.tokens * len(asked) * case.inputs["steps"]
    assert model.cost(work.inputs) == expected
    assert model.cost(work.inputs | {"count": 2}) == 2 * expected


def test_usual_inputs_are_allowed_and_others_are_refused(case: Case, model: Any) -> None:
    rules = jsonschema_rs.validator_for(model.sizes.inputs())
    required = {name: case.inputs[name] for name in model.sizes.inputs()["required"]}
    usual = {
        name: value for name, value in model.filled(required).items() if name in rules_of(model)
    }
    rules.validate(usual)
    sizes = {"width": 1000001, "height": 7, "size": "3x3"}
    wrong = [{name: value} for name, value in sizes.items() if name in rules_of(model)]
    for spoilt in [*wrong, {"steps": 0}, {"count": 9}, {"nonsense": 1}, {"prompt": ""}]:
        assert not rules.is_valid(usual | spoilt), spoilt


def rules_of(model: Any) -> dict[str, Any]:
    properties: dict[str, Any] = model.sizes.inputs()["properties"]
    return properties


def test_it_runs_in_bfloat16_as_on_a_gpu(case: Case, saved: Any) -> None:
    kind, folder = find(case.family), saved(case.family, case.pipeline)
    parts = folders.read(folder, kind.PARTS, "cpu", torch.bfloat16)
    model = kind(parts, kind.SIZES.of(folders.configs(folder)), "cpu", torch.bfloat16)
    assert {one.dtype for one in parts[case.network].parameters()} >= {torch.bfloat16}
    wide = [name for name, part in kind.PARTS.items() if part.wide]
    assert all(parts[name].dtype == torch.float32 for name in wide)
    work = walked(model, case.inputs)
    assert torch.isfinite(work.pictures[0].latent).all()
    assert len(model.decode(work)) == 1
    close = latents(kind.load(folder, "cpu"), case.inputs)[0]
    off = (work.pictures[0].latent.float() - close).norm() / close.norm()
    assert off < 0.5  # random networks amplify what is rounded off


def test_loaded_weights_are_counted(case: Case, model: Any, saved: Any) -> None:
    folder = saved(case.family, case.pipeline)
    on_disk = sum(path.stat().st_size for path in folder.glob("*/*.safetensors"))
    assert 0.5 * on_disk < model.bytes < 1.5 * on_disk


def refused(case: Case, folder: Path) -> str:
    with pytest.raises(Unsuitable) as caught:
        find(case.family).load(folder, "cpu")
    return str(caught.value)


def test_pickles_are_refused(case: Case, copied: Path) -> None:
    weights = next((copied / case.network).glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    told = refused(case, copied)
    assert f"{case.network} holds no safetensors to read, only {weights.stem}.bin" in told
    assert "pickles are never read" in told


def test_code_of_the_folder_is_refused(case: Case, copied: Path) -> None:
    path = copied / case.network / "config.json"
    config = json.loads(path.read_text()) | {"auto_map": {"AutoModel": "evil.Model"}}
    path.write_text(json.dumps(config))
    (copied / "evil.py").write_text("raise SystemExit")
    told = refused(case, copied)
    assert "evil.py is code; code from a model's folder is never run" in told
    assert f"{case.network}/config.json asks for code by auto_map" in told


def test_parts_that_are_missing_or_others_are_named(case: Case, copied: Path) -> None:
    path = copied / "model_index.json"
    index = json.loads(path.read_text())
    index["vae"] = ["diffusers", "VQModel"]
    del index["scheduler"]
    path.write_text(json.dumps(index))
    told = refused(case, copied)
    assert "vae is a VQModel, not a " in told
    assert "scheduler is missing: model_index.json names no " in told
