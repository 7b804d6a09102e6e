"""fal's official JavaScript client, unmodified, against the running stack, through our proxy."""

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
    found = told_by("fal.mjs", stack)
    return {name: flow.get("value", flow) for name, flow in found.items()}


@shows(Client.FAL_JS, Flow.SUCCESS)
def test_run_gives_data_and_the_requests_id(told: Told) -> None:
    for flow, count in (("run", 2), ("get", 1)):
        assert len(told[flow]["data"]["images"]) == count
        assert told[flow]["requestId"].startswith("run_")


@shows(Client.FAL_JS, Flow.SUCCESS)
def test_subscribe_polls_or_streams_to_the_end(told: Told) -> None:
    clip = told["subscribe"]
    assert clip["data"]["video"]["duration"] == 1
    assert clip["seen"][-1] == "COMPLETED"
    followed = told["followed"]
    assert followed["data"]["images"]
    words = [line.split()[0] for line in followed["logs"][-1]]
    assert words[0] == "Queued"
    assert words[-1] == "Succeeded."
    assert len(set(followed["logs"][-1])) == len(followed["logs"][-1])  # no line comes twice


@shows(Client.FAL_JS, Flow.STREAM)
def test_a_stream_ends_with_the_output(told: Told) -> None:
    assert told["stream"]["last"]["images"][0]["url"].startswith("http")
    assert told["stream"]["events"] >= 1
    assert told["stream"]["requestId"].startswith("run_")


@shows(Client.FAL_JS, Flow.FAILURE)
def test_failures_reject_with_words_and_status(told: Told) -> None:
    failed, refused = told["failure"], told["refusal"]
    assert (failed["name"], failed["status"]) == ("ApiError", 500)
    assert failed["message"] == "The lab failed to draw this."
    assert failed["requestId"].startswith("run_")
    assert (refused["name"], refused["status"]) == ("ValidationError", 422)
    assert refused["body"]["detail"][0]["type"] == "content_policy_violation"
    assert told["failedStream"]["message"] == "The lab failed to draw this."


@shows(Client.FAL_JS, Flow.WRONG_INPUT)
def test_a_wrong_argument_is_found_by_its_field(told: Told) -> None:
    assert told["validation"]["name"] == "ValidationError"
    [field] = told["validation"]["fields"]
    assert field["type"] == "less_than_equal"
    assert told["validation"]["message"] == "num_images must be at most 4."


@shows(Client.FAL_JS, Flow.CANCEL, Flow.CANCEL_AGAIN)
def test_cancelling_and_cancelling_again(told: Told) -> None:
    found = told["cancelled"]
    assert found["status"]["error_type"] == "client_cancelled"
    assert (found["again"]["status"], found["again"]["body"]["status"]) == (
        400,
        "ALREADY_COMPLETED",
    )
    assert found["result"]["status"] == 499


@shows(Client.FAL_JS, Flow.LATE)
def test_a_wait_that_runs_out_cancels_the_run(told: Told) -> None:
    assert "timed out" in told["timeout"]["error"]["message"]
    assert told["timeout"]["status"]["error_type"] == "client_cancelled"


@shows(Client.FAL_JS, Flow.WRONG_KEY, Flow.STRANGER)
def test_keys_teams_and_caps(told: Told) -> None:
    assert (told["wrongKey"]["status"], told["wrongKey"]["name"]) == (401, "ApiError")
    assert told["wrongKey"]["message"].startswith("This is not an API key")
    assert told["stranger"][0] == told["stranger"][1]
    assert told["stranger"][0][0] == 404
    assert told["noMoney"]["status"] == 403


def test_a_realtime_session_gives_frames_and_complaints(told: Told) -> None:
    found = told["realtime"]
    assert (found["width"], found["prompt"]) == (64, "tomato")
    assert found["bytes"] > 100
    assert found["error"].startswith("INVALID_INPUT: ")
    assert found["seconds"] > 0
    assert found["run"].startswith("run_")


@shows(Client.FAL_JS, Flow.SMALL, Flow.LARGE)
def test_uploads_of_both_sizes(told: Told) -> None:
    assert (told["upload"]["type"], told["upload"]["size"]) == ("image/png", 70)
    assert told["largeUpload"] > 120_000_000


def test_the_proxy_serves_fals_own_hosts_and_no_other(told: Told) -> None:
    assert told["proxied"] == [400, 400, 400]


@shows(Client.FAL_JS, Flow.WEBHOOK)
def test_a_webhook_comes_signed_as_receivers_of_fals_check_it(told: Told) -> None:
    assert told["webhook"] == {"status": "OK", "same": True, "signed": True, "forged": False}
