"""The rehearsal lab, and an adapter to it."""

from collections.abc import Iterator

import pytest

from tests.lab import Lab, open_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with open_lab() as running:
        yield running
