"""What is on sale from the rehearsal lab, and the lab itself behind real HTTP."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.embedded import seed
from marketplace.fleet import token
from marketplace.fleet.models import Worker
from tests.lab import Lab, open_lab

WORKER_TOKEN = "a worker's token"


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    """The rehearsal lab, known to the suppliers of this process."""
    with open_lab() as running:
        settings.REHEARSAL_URL = running.url
        yield running


@pytest.fixture
def clip(db: None) -> Release:
    """rehearsal/clip, $0.01 a second."""
    return seed.put_on_sale(seed.SALES[2])


@pytest.fixture
def glyph(db: None) -> Release:
    """kinora/glyph, $0.0001 a second of compute, claimed by GPU workers."""
    return seed.put_on_sale(seed.SALES[0])


@pytest.fixture
def gpu(db: None) -> Worker:
    """A GPU worker of the pool that glyph runs in."""
    return token.register(name="gpu-1", pool="cpu.std", token=WORKER_TOKEN)
