"""`manage.py offer` sells a model that stands on a shelf of KINORA_WEIGHTS."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inference.wire import describe
from marketplace.catalog.models import Model, Release
from marketplace.fleet.models import Pool, Worker
from marketplace.metering.models import Price

pytestmark = pytest.mark.django_db
DATE = "2026-11-21"


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shelf beside ours, with one model that goes by another name than its folder."""
    told = describe("glyph") | {"slug": "our-model", "family": "glyph", "queue": "gpu.std"}
    (tmp_path / "Folder 1").mkdir()
    (tmp_path / "Folder 1" / "kinora.json").write_text(json.dumps(told))
    monkeypatch.setenv("KINORA_WEIGHTS", str(tmp_path))


def offer(*words: str) -> str:
    out = StringIO()
    call_command("offer", *words, "--release", DATE, stdout=out)
    return out.getvalue()


SOLD = ("our-model", "--unit", "image", "--price", "0.02", "--cost", "0.001")


def test_a_model_is_sold_with_the_schema_it_has_on_its_shelf() -> None:
    said = offer(*SOLD)
    release = Release.objects.get()
    assert f"kinora/our-model@{DATE} is on sale, for workers of the pool gpu.std." in said
    assert "None serves it yet: manage.py worker NAME --pool gpu.std" in said
    assert (release.adapter, release.target, release.queue) == ("house", "our-model", "gpu.std")
    assert release.input_schema == describe("our-model")["inputs"]
    assert release.facts["bytes"] == describe("glyph")["facts"]["bytes"]
    assert Price.objects.get().lines == [{"unit": "image", "unit_price": "0.02"}]
    assert [dict(line) for line in release.tariffs.get().lines] == [
        {"unit": "gpu_second", "unit_price": "0.001"}
    ]
    assert Release.objects.live().get() == release


def test_a_pool_with_a_worker_needs_no_other() -> None:
    pool = Pool.objects.create(slug="gpu.std", name="GPUs")
    Worker.objects.create(pool=pool, name="gpu-1", digest=b"1" * 32)
    assert "None serves it yet" not in offer(*SOLD)


def test_a_release_is_offered_once() -> None:
    offer(*SOLD)
    with pytest.raises(CommandError, match=r"is there, and a release never changes"):
        offer(*SOLD)
    assert (Release.objects.count(), Price.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("absent", *SOLD[1:]),
            "No shelf of KINORA_WEIGHTS holds absent. "
            "There are: glyph, glyph-motion, glyph-upscale, our-",
        ),
        ((*SOLD[:4], "dear", *SOLD[5:]), "price"),
        ((*SOLD[:2], "video_second", *SOLD[3:]), "seconds"),
    ],
)
def test_what_cannot_be_sold_leaves_nothing_behind(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        offer(*words)
    assert (Model.objects.count(), Release.objects.count(), Price.objects.count()) == (0, 0, 0)
