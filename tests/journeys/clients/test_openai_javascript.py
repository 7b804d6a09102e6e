"""OpenAI's official JavaScript client, unmodified, against the running stack."""

from typing import Any

import pytest

from tests.journeys.clients.node import told_by
from tests.running import Stack

pytestmark = pytest.mark.node
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(stack: Stack) -> Told:
    """Flow → what it came to, all flows of one process."""
    found = told_by("openai.mjs", stack)
    return {name: flow.get("value", flow) for name, flow in found.items()}


def test_images_come_as_base64_addresses_and_events(told: Told) -> None:
    assert told["base64"] == {"count": 2, "magic": "PNG", "size": "256x256"}
    assert told["url"].startswith("http://127.0.0.1:")
    assert told["stream"][-1] == "image_generation.completed"


def test_refusals_are_of_the_class_that_callers_catch(told: Told) -> None:
    assert (told["validation"]["name"], told["validation"]["param"]) == ("BadRequestError", "size")
    assert "64x64, 256x256" in told["validation"]["message"]
    assert (told["refusal"]["name"], told["refusal"]["code"]) == (
        "BadRequestError",
        "moderation_blocked",
    )
    assert told["failure"]["name"] == "InternalServerError"
    assert (told["unknownModel"]["name"], told["unknownModel"]["code"]) == (
        "NotFoundError",
        "model_not_found",
    )
    assert told["wrongKey"]["name"] == "AuthenticationError"
    assert (told["notAPicture"]["status"], told["notAPicture"]["param"]) == (400, "image")


def test_a_video_is_made_read_listed_and_deleted(told: Told) -> None:
    assert told["video"] == {
        "status": "completed",
        "seconds": "1",
        "size": "640x360",
        "magic": "ftyp",
        "known": True,
        "deleted": True,
    }
    assert told["remix"] == {"prompt": "dawn", "from": True}
    assert told["failedVideo"]["message"] == "The lab failed to draw this."


def test_models_are_listed(told: Told) -> None:
    assert {"kinora/glyph", "rehearsal/clip"} <= set(told["models"]["found"])
    assert told["models"]["one"] == "kinora"


def test_another_teams_video_is_one_that_never_was(told: Told) -> None:
    theirs, never = told["stranger"]
    assert theirs == never
    assert theirs[0] == 404
