"""What a run may be given to tell of itself."""

import pytest
from pytest_django import Settings

from marketplace.errors import InvalidInput
from marketplace.webhooks.targets import target

HOOK = "https://example.com/hook"


def test_a_target_names_address_events_and_scheme() -> None:
    assert target(url=HOOK) == {"url": HOOK, "events": ["run.finished"], "scheme": "standard"}


@pytest.mark.parametrize("url", [None, 5, [HOOK], "", "http://example.com/", "https://10.0.0.1/"])
def test_an_address_that_we_may_not_call_is_refused_by_its_name(url: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        target(url=url, param="fal_webhook")
    assert refused.value.param == "fal_webhook"
    assert refused.value.message.startswith("fal_webhook must ")


@pytest.mark.parametrize("events", [[], ["completed"], ["run.finished", "x"]])
def test_unknown_events_are_refused(events: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"run\.finished"):
        target(url=HOOK, events=events)


def test_this_machine_is_called_only_where_the_settings_say_so(settings: Settings) -> None:
    here = "http://127.0.0.1:9/hook"
    with pytest.raises(InvalidInput):
        target(url=here)
    settings.ALLOW_LOOPBACK_WEBHOOKS = True
    assert target(url=here)["url"] == here


def test_a_scheme_without_a_renderer_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="WEBHOOK_RENDERERS"):
        target(url=HOOK, scheme="smoke")
