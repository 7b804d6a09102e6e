"""What a wrong input is told, for every keyword that a schema may use."""

from typing import Any

import orjson
import pytest

from marketplace.errors import InvalidInput
from marketplace.metering.inputs import validated
from marketplace.metering.offer import Offer, read

PROPERTIES: dict[str, dict[str, Any]] = {
    "prompt": {"type": "string", "minLength": 2, "maxLength": 5},
    "size": {"type": "integer", "minimum": 64, "maximum": 512, "multipleOf": 64, "default": 128},
    "strength": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "style": {"enum": ["ink", "oil"]},
    "kind": {"const": "image"},
    "source": {"type": "string", "format": "uri"},
    "name": {"type": "string", "pattern": "^[a-z]+$"},
    "colours": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
    "seed": {"type": ["integer", "null"]},
    "mask": {"type": "object", "required": ["left"], "additionalProperties": False},
}

SAID: list[tuple[dict[str, Any], str, str]] = [
    ({}, "inputs.prompt", "inputs.prompt is required."),
    ({"prompt": "a"}, "inputs.prompt", "inputs.prompt must have at least 2 characters."),
    ({"prompt": "abcdef"}, "inputs.prompt", "inputs.prompt must have at most 5 characters."),
    ({"size": 32}, "inputs.size", "inputs.size must be at least 64."),
    ({"size": 1024}, "inputs.size", "inputs.size must be at most 512."),
    ({"size": 65}, "inputs.size", "inputs.size must be a multiple of 64."),
    ({"size": True}, "inputs.size", "inputs.size must be a whole number."),
    ({"strength": 0}, "inputs.strength", "inputs.strength must be more than 0."),
    ({"strength": 1}, "inputs.strength", "inputs.strength must be less than 1."),
    ({"style": "lead"}, "inputs.style", 'inputs.style must be one of "ink", "oil".'),
    ({"kind": "video"}, "inputs.kind", 'inputs.kind must be "image".'),
    ({"source": ":"}, "inputs.source", "inputs.source must be a uri."),
    ({"name": "A1"}, "inputs.name", "inputs.name must match the pattern ^[a-z]+$."),
    ({"colours": []}, "inputs.colours", "inputs.colours must have at least 1 item."),
    ({"colours": [1]}, "inputs.colours.0", "inputs.colours.0 must be a string."),
    ({"seed": "x"}, "inputs.seed", "inputs.seed must be a whole number or null."),
    ({"seed": 1.5}, "inputs.seed", "inputs.seed must be a whole number or null."),
    ({"mask": {}}, "inputs.mask.left", "inputs.mask.left is required."),
    (
        {"colour": 1},
        "inputs.colour",
        f"inputs.colour is not an input here. Known inputs: {', '.join(PROPERTIES)}.",
    ),
]


@pytest.fixture(scope="module")
def offer() -> Offer:
    schema = {
        "type": "object",
        "required": ["prompt"],
        "additionalProperties": False,
        "properties": PROPERTIES,
    }
    row = dict.fromkeys(("release_id", "timeout_seconds"), 1) | dict.fromkeys(
        ("model", "version", "lab", "title", "task", "summary", "queue", "adapter", "target",
         "content_type", "output_kind", "published_at"), "x",
    )  # fmt: skip
    price = {
        "id": 1, "version": 1, "segment": "list", "currency": "USD", "lines": [], "policy": {},
        "digest": "", "effective_from": "2026-11-20T00:00:00+00:00", "holds": True,
    }  # fmt: skip
    return read(
        orjson.dumps(
            row | {"schema": schema, "facts": {}, "prices": [price], "prediction": None}
        ).decode()
    )


@pytest.mark.parametrize(("inputs", "param", "message"), SAID)
def test_a_wrong_input_is_told_what_is_allowed(
    offer: Offer, inputs: dict[str, Any], param: str, message: str
) -> None:
    sent = {"prompt": "abc", **inputs} if inputs else inputs

    with pytest.raises(InvalidInput) as refused:
        validated(offer, sent)
    assert (refused.value.param, refused.value.message) == (param, message)


def test_inputs_must_be_an_object(offer: Offer) -> None:
    for wrong in (None, [], "a", 1):
        with pytest.raises(InvalidInput) as refused:
            validated(offer, wrong)
        assert refused.value.param == "inputs"


def test_defaults_are_filled_in_and_whole_numbers_made_whole(offer: Offer) -> None:
    filled = validated(offer, {"prompt": "abc", "size": 256.0})

    assert filled == {"prompt": "abc", "size": 256}
    assert isinstance(filled["size"], int)
    assert validated(offer, {"prompt": "abc"}) == {"prompt": "abc", "size": 128}


def test_what_was_sent_stays_as_it_was(offer: Offer) -> None:
    sent = {"prompt": "abc", "size": 256.0}
    validated(offer, sent)

    assert isinstance(sent["size"], float)
