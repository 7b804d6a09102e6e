"""A lab that is only described goes through the scenarios of one with an adapter of its own."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from partners import adapter as transport
from partners.contract import Job
from partners.described import described
from partners.registry import ADAPTERS
from tests.contract.labs.seedance import SHAPE, TASKS
from tests.contract.test_labs import SCENARIOS, bench, inexpressible

SEEDANCE: Mapping[str, Any] = {
    "url": "https://ark.ap-southeast.bytepluses.com",
    "proof": {"Authorization": "Bearer {secret}"},
    "submit": TASKS,
    "body": {
        "model": "{target}",
        "content": [{"type": "text", "text": {"$input": "prompt"}}],
        "duration": {"$input": "seconds"},
    },
    "poll": f"{TASKS}/{{}}",
    "cancel": {"method": "DELETE", "path": f"{TASKS}/{{}}", "in": ["queued"]},
    "status": ["status"],
    "states": {
        "queued": "running",
        "running": "running",
        "succeeded": "succeeded",
        "cancelled": "cancelled",
    },
    "refusals": {"OutputVideo": True, "SensitiveContent": False},
    "files": ["content", "video_url"],
    "usage": {"video_second": ["duration"], "token": ["usage", "completion_tokens"]},
    "notice": ["id"],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_described_lab_is_followed_through(
    scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := inexpressible(SHAPE, scenario):
        pytest.skip(reason)
    monkeypatch.setattr(transport, "PAUSE_SECONDS", 0.01)
    monkeypatch.setitem(ADAPTERS, "described", described(SEEDANCE))

    async def go() -> None:
        async with bench("described", SHAPE) as b:
            await SCENARIOS[scenario](b)

    asyncio.run(go())


def test_a_body_is_filled_and_what_is_not_given_is_left_out() -> None:
    adapter = described(SEEDANCE)("", "s")
    assert adapter.asked(Job("run-1", "m", {"prompt": "dusk"})) == (
        TASKS,
        {"model": "m", "content": [{"type": "text", "text": "dusk"}]},
    )
    _, body = adapter.asked(Job("run-1", "m", {"prompt": "{key}", "seconds": 5}))
    assert body["duration"] == 5
    assert body["content"][0]["text"] == "{key}"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"poll": "/v1/tasks"}, "poll"),
        ({"poll": "/v1/{}/{}"}, "poll"),
        ({"submit": "/v1/{secret}"}, "submit"),
        ({"submit": "/v1/{}"}, "submit"),
        ({"url": "file:///etc"}, "url"),
        ({"states": {"done": "finished"}}, "states.done"),
        ({"proof": {"X-Key": "{self.__class__}"}}, "proof.X-Key"),
        ({"cancel": {"method": "GET", "path": "/{}", "in": []}}, "cancel.method"),
        ({"surprise": 1}, "the description"),
    ],
)
def test_a_description_that_is_wrong_says_where(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=place):
        described({**SEEDANCE, **change})
