"""A file on its way in: in memory while it is small, on disk when it is asked for or grows."""

import hashlib
from pathlib import Path

import pytest
from django.conf import settings

from marketplace.media import store

SIZES = [0, 1, store.IN_MEMORY, store.IN_MEMORY + 1, 3 * store.IN_MEMORY]


def files() -> list[Path]:
    return list((Path(settings.MEDIA_ROOT) / "incoming").glob("*"))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_what_is_read_whatever_its_size(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    before = files()
    with store.Incoming() as file:
        for start in range(0, size, 100_000):
            file.write(content[start : start + 100_000])
        assert len(files()) - len(before) == (size > store.IN_MEMORY)
        assert file.finish().read_bytes() == content
        file.write(b"more")
        assert file.finish().read_bytes() == content + b"more"
        assert file.bytes == size + 4
        assert file.sha256 == hashlib.sha256(content + b"more").hexdigest()
    assert files() == before


def test_a_small_file_that_is_never_asked_for_leaves_nothing() -> None:
    before = files()
    with store.Incoming() as file:
        file.write(b"seen and refused")
    assert files() == before
