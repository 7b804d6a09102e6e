"""Every supplier in the registry describes models that can be sold."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import jsonschema_rs
import pytest

from partners.contract import Broken, Description, Job, Ticket
from partners.house import House
from partners.registry import ADAPTERS, describe, open_adapter

DESCRIBED = [
    pytest.param(name, description, id=f"{name}/{description.target}")
    for name, adapter in ADAPTERS.items()
    for description in adapter.describe()
]


@pytest.mark.parametrize(("name", "description"), DESCRIBED)
def test_a_description_has_a_sound_schema_and_a_queue(name: str, description: Description) -> None:
    validator = jsonschema_rs.validator_for(dict(description.inputs))
    properties = description.inputs["properties"]
    usual = {key: p["default"] for key, p in properties.items() if "default" in p}
    for example in description.examples:
        assert validator.is_valid(usual | dict(example))
    assert not validator.is_valid(usual | {"prompt": ""})
    assert description.content_type.partition("/")[0] == description.output_kind
    assert 0 < description.timeout_seconds <= 600
    assert describe(name, description.target) == description


def test_an_unknown_supplier_or_model_is_named_in_the_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        open_adapter("nobody")
    with pytest.raises(KeyError, match="rehearsal/none"):
        describe("rehearsal", "none")


async def refused(call: Coroutine[Any, Any, Any]) -> None:
    with pytest.raises(Broken):
        await call


def test_the_house_takes_no_jobs_by_hand() -> None:
    asyncio.run(refused(House().submit(Job("k", "glyph", {}))))
    asyncio.run(refused(House().poll(Ticket("t"))))
