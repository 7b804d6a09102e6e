"""The lines that the docs and the model pages show, run as they stand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from marketplace.dialects.snippets import KEY, Snippet, snippets
from marketplace.metering.offer import Offer
from tests.journeys.clients.node import FOLDER
from tests.marketplace.dialects.test_vocabulary import CLIP, GLYPH
from tests.running import ROOT, Stack

CALLS = {
    "python": [sys.executable, "-W", "ignore", "-c"],
    "javascript": ["node", "--input-type=module", "-e"],
    "curl": ["bash", "-c"],
}
MODELS = {"kinora/glyph": (GLYPH, "image"), "rehearsal/clip": (CLIP, "video")}


def on_sale(model: str) -> Offer:
    described, kind = MODELS[model]
    values = {name: getattr(described, name) for name in Offer.__slots__}
    return Offer(**values | {"model": model, "output_kind": kind})


def ways(model: str, url: str) -> list[Snippet]:
    return snippets(on_sale(model), url)


WAYS = [(m, way.client, way.language) for m in MODELS for way in ways(m, "")]


@pytest.mark.parametrize(("model", "client", "language"), WAYS)
def test_every_way_in_works(
    stack: Stack, tmp_path: Path, model: str, client: str, language: str
) -> None:
    if language == "javascript" and not (FOLDER / "node_modules").exists():
        pytest.skip("the JavaScript clients are not installed here")
    if language == "curl" and not shutil.which("curl"):
        pytest.skip("there is no curl here")
    [way] = [w for w in ways(model, stack.url) if (w.client, w.language) == (client, language)]
    assert len(way.code.splitlines()) <= 5
    done = subprocess.run(
        [*CALLS[language], way.code],
        cwd=FOLDER if language == "javascript" else tmp_path,
        env=os.environ | {KEY: stack.key},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    kept = [file.name for file in tmp_path.iterdir()]
    assert "http://127.0.0.1" in said or "run_" in said or kept in (["picture.png"], ["video.mp4"])
    assert "error" not in said.lower().replace('"error":null', "")


def test_the_docs_tell_the_same_lines() -> None:
    told = (ROOT / "docs" / "clients.md").read_text()
    for way in ways("kinora/glyph", "http://127.0.0.1:8000"):
        assert way.code in told, (way.client, way.language)
