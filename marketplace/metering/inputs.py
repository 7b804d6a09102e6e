"""Check a caller's inputs against a release's schema and say in plain words what is wrong.

The schema is the contract: what it does not allow is refused before any money moves.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from jsonschema_rs import ValidationError

from marketplace.errors import InvalidInput
from marketplace.metering.file_inputs import pending
from marketplace.metering.offer import Offer

BOUNDS = {  # keyword → where the validator keeps what it allows
    "type": "types",
    "enum": "options",
    "multipleOf": "multiple_of",
    "pattern": "pattern",
    "format": "format",
} | dict.fromkeys(
    ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
     "minItems", "maxItems"),
    "limit",
)  # fmt: skip
EXACT = 2**53  # floats beyond it are not exact whole numbers

KINDS = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

SAYINGS: dict[str, Callable[[Any, str], str]] = {
    "required": lambda kind, at: f"{at}{kind.property} is required.",
    "additionalProperties": lambda kind, at: f"{at}{kind.unexpected[0]} is not an input here.",
    "type": lambda kind, at: f"{at} must be {either(kind.types)}.",
    "enum": lambda kind, at: f"{at} must be one of {listed(kind.options)}.",
    "const": lambda kind, at: f"{at} must be {shown(kind.expected_value)}.",
    "minimum": lambda kind, at: f"{at} must be at least {shown(kind.limit)}.",
    "maximum": lambda kind, at: f"{at} must be at most {shown(kind.limit)}.",
    "exclusiveMinimum": lambda kind, at: f"{at} must be more than {shown(kind.limit)}.",
    "exclusiveMaximum": lambda kind, at: f"{at} must be less than {shown(kind.limit)}.",
    "multipleOf": lambda kind, at: f"{at} must be a multiple of {shown(kind.multiple_of)}.",
    "minLength": lambda kind, at: f"{at} must have at least {counted(kind.limit, 'character')}.",
    "maxLength": lambda kind, at: f"{at} must have at most {counted(kind.limit, 'character')}.",
    "minItems": lambda kind, at: f"{at} must have at least {counted(kind.limit, 'item')}.",
    "maxItems": lambda kind, at: f"{at} must have at most {counted(kind.limit, 'item')}.",
    "pattern": lambda kind, at: f"{at} must match the pattern {kind.pattern}.",
    "format": lambda kind, at: f"{at} must be a {kind.format}.",
}


def validated(offer: Offer, inputs: Any) -> dict[str, Any]:
    """The inputs with the schema's defaults filled in; files are taken as they are, not looked at.

    Raises InvalidInput, naming the field.
    """
    if not isinstance(inputs, dict):
        raise InvalidInput("inputs must be an object.", param="inputs")
    for fault in offer.validator.iter_errors(pending(offer.schema, inputs)):
        raise explained(fault, offer.schema)
    return whole({**offer.defaults, **inputs}, offer.schema)


def whole(inputs: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema takes 64.0 for an integer; so that one body has one meaning, make it 64."""
    properties = schema.get("properties", {})
    for name, value in inputs.items():
        if isinstance(value, float) and properties.get(name, {}).get("type") == "integer":
            if abs(value) > EXACT:
                raise InvalidInput(f"inputs.{name} is too large.", param=f"inputs.{name}")
            inputs[name] = int(value)
    return inputs


def explained(fault: ValidationError, schema: Mapping[str, Any]) -> InvalidInput:
    """A validator's finding in a person's words, with the place of the field."""
    kind: Any = fault.kind  # its class, and so what it has, depends on the keyword
    path = ["inputs", *(str(step) for step in fault.instance_path)]
    at = ".".join(path)
    if kind.name in ("required", "additionalProperties"):
        named = kind.property if kind.name == "required" else kind.unexpected[0]
        message = SAYINGS[kind.name](kind, f"{at}.")
        if kind.name == "additionalProperties" and len(path) == 1:
            message += f" Known inputs: {', '.join(schema.get('properties', {}))}."
        return InvalidInput(message, param=f"{at}.{named}"[:120], rule=kind.name)
    saying = SAYINGS.get(kind.name)
    message = saying(kind, at) if saying else f"{at}: {fault.message}"
    return InvalidInput(message, param=at[:120], **broken(kind))


def broken(kind: Any) -> dict[str, Any]:
    """The schema's keyword and what it allows, for programs."""
    rule = {"rule": kind.name}
    return rule | {"allowed": getattr(kind, BOUNDS[kind.name])} if kind.name in BOUNDS else rule


def shown(value: Any) -> str:
    return orjson.dumps(value).decode()


def listed(values: list[Any]) -> str:
    return ", ".join(shown(value) for value in values)


def either(kinds: list[str]) -> str:
    """`a whole number or null`; null comes last."""
    return " or ".join(KINDS[kind] for kind in sorted(kinds, key="null".__eq__))


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_order(schema: Mapping[str, Any]) -> list[str]:
    """The names of the inputs as a reader expects them; the database keeps no order of keys."""
    required = schema.get("required", [])
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})

    def place(name: str) -> tuple[bool, bool, bool]:
        plain = properties[name].get("type") == "string" and "enum" not in properties[name]
        return name not in required, not plain, name == "seed"

    return sorted(properties, key=place)
