"""Replicate's official JavaScript client, unmodified, against the running stack."""

from typing import Any

import pytest

from tests.journeys.clients.node import told_by
from tests.running import Stack

pytestmark = pytest.mark.node
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(stack: Stack) -> Told:
    """Flow → what it came to, all flows of one process."""
    found = told_by("replicate.mjs", stack)
    return {name: flow.get("value", flow) for name, flow in found.items()}


def test_run_gives_addresses_however_it_waits(told: Told) -> None:
    assert len(told["run"].split(",")) == 2
    assert told["block"].startswith("http://127.0.0.1:")
    assert told["progress"][-1] == "succeeded"
    assert told["version"] == {"same": True, "outputs": 1}
    assert told["deployment"] == "succeeded"


def test_failures_reject_with_words(told: Told) -> None:
    assert told["failure"]["message"] == "Prediction failed: The lab failed to draw this."
    assert told["validation"]["status"] == 422
    assert "num_outputs must be at most 4." in told["validation"]["message"]
    assert told["wrongKey"]["status"] == 401


def test_a_cancelled_prediction_stays_cancelled(told: Told) -> None:
    assert told["cancelled"] == ["canceled", "canceled"]


def test_a_stream_ends_with_the_output(told: Told) -> None:
    assert told["stream"] == ["output", "done"]


def test_lists_and_the_catalog_read_as_replicates(told: Told) -> None:
    assert told["pages"] is True
    assert told["search"] == ["kinora/glyph"]
    assert told["catalog"]["models"] >= 3
    assert {"text-to-image", "text-to-video"} <= set(told["catalog"]["collections"])
    assert told["catalog"]["account"] == "Demo studio"


def test_another_teams_prediction_is_one_that_never_was(told: Told) -> None:
    theirs, never = told["stranger"]
    assert theirs == never
    assert theirs[0] == 404
