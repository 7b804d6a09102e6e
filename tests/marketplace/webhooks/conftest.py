"""A receiver that may be called, and a courier to carry what is queued."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from marketplace.runs.deliverer import Deliverer
from tests.marketplace.runs.conftest import lab  # noqa: F401 - a fixture
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """Somebody's server on this machine, which may be called."""
    settings.ALLOW_LOOPBACK_WEBHOOKS = True
    with receiving() as running:
        yield running


@pytest.fixture
def deliverer(transactional_db: None) -> Iterator[Deliverer]:
    """The courier of this process, over the test's own committed rows."""
    running = Deliverer()
    running.start()
    yield running
    running.stop()
    running.join(10)
