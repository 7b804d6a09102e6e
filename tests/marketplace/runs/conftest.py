"""What is on sale from the rehearsal lab, and the lab itself behind real HTTP."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from marketplace.catalog.models import Release
from marketplace.fleet import token
from marketplace.fleet.models import Worker
from tests.conftest import Person
from tests.lab import Lab, open_lab
from tests.marketplace.runs.statements import Line, everything

WORKER_TOKEN = "a worker's token"


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    """The rehearsal lab, known to the suppliers of this process."""
    with open_lab() as running:
        settings.REHEARSAL_URL = running.url
        yield running


@pytest.fixture
def gpu(db: None) -> Worker:
    """A GPU worker of the pool that glyph runs in."""
    return token.register(name="gpu-1", pool="cpu.std", token=WORKER_TOKEN)


@pytest.fixture
def told(
    transactional_db: None, ada: Person, cy: Person, still: Release, settings: Settings
) -> list[Line]:
    """Ada's statement: a simple price, a complex one, a short delivery, a failure, a review."""
    return everything(ada, cy, still, settings)
