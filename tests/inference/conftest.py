"""A control plane stand-in, a loaded glyph, and workers with a real child process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported

from inference.models.glyph import Glyph
from inference.runner import Runner, Settings
from inference.wire import WEIGHTS
from tests.inference.plane import Plane


@pytest.fixture(scope="session")
def glyph() -> Glyph:
    return Glyph.load(WEIGHTS / "glyph", "cpu")


@pytest.fixture(scope="session")
def shared_plane() -> Iterator[Plane]:
    with Plane() as plane:
        yield plane
        plane.shutdown()


@pytest.fixture
def plane(shared_plane: Plane) -> Plane:
    shared_plane.failing.clear()
    return shared_plane


@pytest.fixture(scope="session")
def runner(shared_plane: Plane) -> Iterator[Runner]:
    runner = Runner(Settings(shared_plane.url, "secret", "w1", poll_seconds=600))
    runner.start()
    runner.wake()
    yield runner
    runner.stop()
    runner.join(10)
