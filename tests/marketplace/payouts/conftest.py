"""The lab `rehearsal`, and an agreement with it."""

import pytest

from marketplace.catalog.models import Lab, Release
from marketplace.payouts.agree import agree
from marketplace.payouts.models import Agreement


@pytest.fixture
def lab(still: Release) -> Lab:
    return still.model.lab


@pytest.fixture
def seventy(lab: Lab) -> Agreement:
    """70 % of every charge."""
    return agree(lab=lab, basis="gross", percent="70")
