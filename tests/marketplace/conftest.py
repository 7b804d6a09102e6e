"""A model on sale and a web process to call, for the tests of the API."""

from collections.abc import Iterator

import pytest

from marketplace.catalog.models import Release
from tests.marketplace import sale
from tests.marketplace.web import Client, serving


@pytest.fixture
def still(db: None) -> Release:
    """rehearsal/still, $0.002 a picture."""
    return sale.put("rehearsal/still")


@pytest.fixture
def clip(db: None) -> Release:
    """rehearsal/clip, $0.01 a second."""
    return sale.put("rehearsal/clip")


@pytest.fixture
def glyph(db: None) -> Release:
    """kinora/glyph, $0.0001 a second of compute, claimed by GPU workers."""
    return sale.put("kinora/glyph")


@pytest.fixture
def web(transactional_db: None) -> Iterator[Client]:
    """The web process over the test's own committed rows."""
    with serving() as client:
        yield client
