"""A model on sale and a web process to call, for the tests of the API."""

from collections.abc import Iterator

import pytest

from marketplace.catalog.models import Release
from marketplace.embedded import seed
from tests.marketplace.web import Client, serving


@pytest.fixture
def still(db: None) -> Release:
    """rehearsal/still, $0.002 a picture."""
    return seed.put_on_sale(seed.SALES[1])


@pytest.fixture
def web(transactional_db: None) -> Iterator[Client]:
    """The web process over the test's own committed rows."""
    with serving() as client:
        yield client
