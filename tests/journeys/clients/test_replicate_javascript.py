"""Replicate's official JavaScript client, unmodified, against the running stack."""

from typing import Any

import pytest

from tests.journeys.clients.flows import Client, Flow, shows
from tests.journeys.clients.node import told_by
from tests.running import Stack

pytestmark = pytest.mark.node
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(stack: Stack) -> Told:
    """Flow → what it came to, all flows of one process."""
    found = told_by("replicate.mjs", stack)
    return {name: flow.get("value", flow) for name, flow in found.items()}


@shows(Client.REPLICATE_JS, Flow.SUCCESS)
def test_run_gives_addresses_however_it_waits(told: Told) -> None:
    assert len(told["run"].split(",")) == 2
    assert told["block"].startswith("http://127.0.0.1:")
    assert told["progress"][-1] == "succeeded"
    assert told["version"] == {"same": True, "outputs": 1}
    assert told["deployment"] == "succeeded"


@shows(Client.REPLICATE_JS, Flow.FAILURE, Flow.WRONG_INPUT, Flow.WRONG_KEY)
def test_failures_reject_with_words(told: Told) -> None:
    assert told["failure"]["message"] == "Prediction failed: The lab failed to draw this."
    assert told["validation"]["status"] == 422
    assert "num_outputs must be at most 4." in told["validation"]["message"]
    assert told["wrongKey"]["status"] == 401


@shows(Client.REPLICATE_JS, Flow.CANCEL, Flow.CANCEL_AGAIN)
def test_a_cancelled_prediction_stays_cancelled(told: Told) -> None:
    assert told["cancelled"] == ["canceled", "canceled"]


@shows(Client.REPLICATE_JS, Flow.LATE)
def test_a_wait_that_runs_out_says_starting_and_run_polls_on(told: Told) -> None:
    found = told["patience"]
    assert (found["status"], found["outputs"]) == ("starting", 1)
    assert (found["seen"][0], found["seen"][-1]) == ("starting", "succeeded")


def test_a_run_that_is_aborted_is_cancelled(told: Told) -> None:
    assert told["aborted"] == {"output": None, "status": "canceled"}


@shows(Client.REPLICATE_JS, Flow.SMALL)
def test_files_are_kept_read_given_to_a_model_and_deleted(told: Told) -> None:
    assert told["files"] == {
        "kept": ["pixel.png", "image/png", 70],
        "same": True,
        "read": 70,
        "deleted": True,
        "gone": 404,
    }
    assert "/media/" in told["fileInput"]


@shows(Client.REPLICATE_JS, Flow.LARGE)
def test_a_picture_of_120_megabytes_is_kept(told: Told) -> None:
    kind, size = told["largeFile"]
    assert kind == "image/png"
    assert size > 120_000_000


@shows(Client.REPLICATE_JS, Flow.WEBHOOK)
def test_webhooks_are_as_the_client_verifies_them(told: Told) -> None:
    assert told["webhook"] == {
        "valid": [True, True],
        "forged": False,
        "same": True,
        "last": "succeeded",
    }


def test_nothing_is_trained_here(told: Told) -> None:
    assert told["trainings"] == {"results": [], "lost": 404, "status": 403, "told": True}


@shows(Client.REPLICATE_JS, Flow.STREAM)
def test_a_stream_ends_with_the_output(told: Told) -> None:
    assert told["stream"] == ["output", "done"]


@shows(Client.REPLICATE_JS, Flow.PAGES)
def test_lists_and_the_catalog_read_as_replicates(told: Told) -> None:
    assert told["pages"] == {"full": True, "once": True, "all": True}
    family = {"kinora/glyph", "kinora/glyph-motion", "kinora/glyph-upscale"}
    assert set(told["search"]) == family
    assert told["catalog"]["models"] >= 3
    assert {"text-to-image", "text-to-video"} <= set(told["catalog"]["collections"])
    assert told["catalog"]["account"] == "Demo studio"


@shows(Client.REPLICATE_JS, Flow.STRANGER)
def test_another_teams_prediction_is_one_that_never_was(told: Told) -> None:
    theirs, never = told["stranger"]
    assert theirs == never
    assert theirs[0] == 404
