"""A diffusers folder becomes a model that the engine serves, or is refused with every reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from inference.adopt import Adoption, about, adopt
from inference.engine import Engine
from inference.header import Invalid
from inference.models.flux import Flux
from inference.models.folder import Unsuitable
from inference.wire import Job, describe, shelf
from partners import registry
from tests.inference.models.test_flux import INPUTS, pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "FLUX.1 tiny"
    pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KINORA_WEIGHTS", str(tmp_path))
    return shutil.copytree(made, tmp_path / made.name)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "inference", "adopt", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_an_adopted_folder_is_served_by_name(folder: Path) -> None:
    done = command("flux", str(folder), "--title", "Tiny")
    assert done.returncode == 0, done.stderr
    assert f"{folder}/kinora.json: flux-1-tiny" in done.stdout
    assert shelf()["flux-1-tiny"] == folder
    engine = Engine()
    result = engine.run(Job("run_1", 1, "r", "flux-1-tiny", INPUTS), lambda _: None)
    assert (result.usage.outputs, result.usage.steps) == (1, INPUTS["steps"])
    assert result.files[0].startswith(b"\x89PNG")
    assert engine.resident == ["flux-1-tiny"]


def test_the_marketplace_reads_what_it_says_of_itself(folder: Path) -> None:
    adopt(Adoption("flux", folder, title="Tiny", queue="gpu.big"))
    found = registry.describe("house", "flux-1-tiny")
    assert (found.title, found.queue, found.task) == ("Tiny", "gpu.big", "text-to-image")
    assert found.inputs["properties"]["width"]["multipleOf"] == 4
    assert found.facts["tokens"] == 256 * 256
    parts = Flux.load(folder, "cpu").parts.values()
    modules = [part for part in parts if isinstance(part, nn.Module)]
    weights = sum(one.numel() for module in modules for one in module.parameters())
    assert found.facts["bytes"] == 2 * weights  # in bfloat16, as on a GPU
    assert found.facts["classes"]["transformer"] == "FluxTransformer2DModel"


def test_glyph_stays_what_it_is(folder: Path) -> None:
    adopt(Adoption("flux", folder, slug="glyph"))
    assert describe("glyph")["title"] == "Glyph"


def test_everything_that_is_wrong_is_said_at_once_and_nothing_written(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").unlink()
    shutil.rmtree(folder / "vae")
    with pytest.raises(Unsuitable) as caught:
        adopt(Adoption("flux", folder))
    assert str(caught.value).splitlines() == [
        f"vae is missing: there is no folder {folder / 'vae'}",
        "tokenizer holds no tokenizer.json",
    ]
    done = command("flux", str(folder))
    assert done.returncode == 1
    assert "tokenizer holds no tokenizer.json" in done.stderr
    assert not (folder / "kinora.json").exists()


def test_a_file_that_is_no_safetensors_is_refused(folder: Path) -> None:
    weights = folder / "text_encoder" / "model.safetensors"
    weights.write_bytes(b"\x80\x04\x95 a pickle under another name")
    done = command("flux", str(folder))
    assert done.returncode == 1
    assert f"{weights}: a header of " in done.stderr
    with pytest.raises(Invalid):
        Flux.load(folder, "cpu")
    assert not (folder / "kinora.json").exists()


def test_missing_shards_are_named(folder: Path) -> None:
    shards = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    place = folder / "text_encoder" / "model.safetensors.index.json"
    place.write_text(json.dumps(shards))
    with pytest.raises(Unsuitable, match="text_encoder lacks model-00001-of-0"):
        about(Adoption("flux", folder))


def test_a_variant_is_not_taken_for_the_weights(folder: Path) -> None:
    bytes_before = about(Adoption("flux", folder))["facts"]["bytes"]
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    variant = weights.with_name("diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(weights, variant)
    assert about(Adoption("flux", folder))["facts"]["bytes"] == bytes_before
    weights.unlink()
    with pytest.raises(Unsuitable, match=f"only {variant.name}; they are a variant"):
        about(Adoption("flux", folder))


@pytest.mark.parametrize("spoilt", [{"slug": "No/Name"}, {"slug": "-"}, {"family": "glyph"}])
def test_names_that_cannot_be_are_refused(folder: Path, spoilt: dict[str, Any]) -> None:
    with pytest.raises(Unsuitable):
        about(Adoption(**({"family": "flux", "folder": folder} | spoilt)))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsuitable, match=r"holds no model_index.json"):
        about(Adoption("flux", tmp_path))
