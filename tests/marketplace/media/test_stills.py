"""Pictures of clips, drawn in a process of their own."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image

from marketplace.errors import NotFound
from marketplace.media import stills
from tests.marketplace.media import samples


@pytest.fixture
def clip() -> Iterator[str]:
    """A stored clip of 12 frames, 320 × 180."""
    name = default_storage.save("tests/clip.mp4", ContentFile(samples.short_clip()))
    yield name
    default_storage.delete(name)


def size_and_kind(picture: bytes) -> tuple[tuple[int, int], str | None]:
    with Image.open(io.BytesIO(picture)) as opened:
        opened.load()
        return opened.size, opened.format


def test_a_thumbnail_is_the_first_frame(clip: str) -> None:
    assert size_and_kind(stills.drawn(clip, "thumbnail")) == ((320, 180), "WEBP")


def test_a_sheet_has_sixteen_frames_from_all_over_the_clip(clip: str) -> None:
    sheet = stills.drawn(clip, "spritesheet")
    assert size_and_kind(sheet) == ((4 * 320, 4 * 180), "JPEG")
    with Image.open(io.BytesIO(sheet)) as opened:
        first = opened.crop((0, 0, 320, 180)).tobytes()
        last = opened.crop((960, 540, 1280, 720)).tobytes()
    assert first != last


def test_what_is_no_clip_has_no_pictures() -> None:
    name = default_storage.save("tests/none.mp4", ContentFile(b"<html></html>"))
    for kind in stills.KINDS:
        with pytest.raises(NotFound):
            stills.drawn(name, kind)
    Path(default_storage.path(name)).unlink()
    with pytest.raises(NotFound):
        stills.drawn("tests/gone.mp4", "thumbnail")
