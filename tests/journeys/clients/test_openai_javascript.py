"""OpenAI's official JavaScript client, unmodified, against the running stack."""

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
    found = told_by("openai.mjs", stack)
    return {name: flow.get("value", flow) for name, flow in found.items()}


@shows(Client.OPENAI_JS, Flow.SUCCESS, Flow.STREAM)
def test_images_come_as_base64_addresses_and_events(told: Told) -> None:
    assert told["base64"] == {"count": 2, "magic": "PNG", "size": "256x256"}
    assert told["url"].startswith("http://127.0.0.1:")
    assert told["stream"][-1] == "image_generation.completed"


@shows(Client.OPENAI_JS, Flow.FAILURE, Flow.WRONG_INPUT, Flow.WRONG_KEY)
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


@shows(Client.OPENAI_JS, Flow.SUCCESS)
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


@shows(Client.OPENAI_JS, Flow.PAGES)
def test_lists_page_in_both_orders(told: Told) -> None:
    assert told["pages"] == {"falling": True, "rising": True, "wrong": ["BadRequestError", "order"]}


def test_a_clip_has_a_thumbnail_and_a_sheet(told: Told) -> None:
    assert told["variants"] == {
        "thumbnail": ["image/webp", True],
        "spritesheet": ["image/jpeg", True],
    }


@shows(Client.OPENAI_JS, Flow.SMALL)
def test_pictures_are_edited_varied_and_animated(told: Told) -> None:
    assert told["edits"] == {"magic": "PNG", "kinds": ["image_edit.completed"], "varied": 1}
    assert told["pictured"] == "completed"


@shows(Client.OPENAI_JS, Flow.LARGE)
def test_a_picture_of_120_megabytes_is_edited(told: Told) -> None:
    assert told["largeEdit"].startswith("http://127.0.0.1:")


def test_a_clip_is_edited_by_its_id_and_as_a_file(told: Told) -> None:
    assert told["videoEdits"] == {"byId": "completed", "byFile": "completed", "longer": 400}


@shows(Client.OPENAI_JS, Flow.CANCEL, Flow.CANCEL_AGAIN)
def test_deleting_a_clip_that_goes_on_ends_it_and_again_harms_nothing(told: Told) -> None:
    assert told["cancelled"] == {"deleted": [True, True], "gone": "NotFoundError"}


@shows(Client.OPENAI_JS, Flow.LATE)
def test_a_wait_that_runs_out_is_the_callers_own(told: Told) -> None:
    assert told["timeout"] == "APIConnectionTimeoutError"


def test_a_stream_tells_of_a_failure(told: Told) -> None:
    assert told["failedStream"] == "The lab failed to draw this."


@shows(Client.OPENAI_JS, Flow.WEBHOOK)
def test_a_webhook_is_unwrapped_and_a_forged_one_refused(told: Told) -> None:
    assert told["webhook"] == {
        "type": "video.completed",
        "same": True,
        "forged": "InvalidWebhookSignatureError",
    }


def test_models_are_listed(told: Told) -> None:
    assert {"kinora/glyph", "rehearsal/clip"} <= set(told["models"]["found"])
    assert told["models"]["one"] == "kinora"


@shows(Client.OPENAI_JS, Flow.STRANGER)
def test_another_teams_video_is_one_that_never_was(told: Told) -> None:
    theirs, never = told["stranger"]
    assert theirs == never
    assert theirs[0] == 404
