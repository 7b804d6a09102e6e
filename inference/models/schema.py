"""The inputs that families have in common, as parts of a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Rule = dict[str, Any]


def inputs(required: list[str], **properties: Rule | None) -> Rule:
    """Make the schema of a model's inputs; what is None the model does not take."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {name: rule for name, rule in properties.items() if rule is not None},
    }


def prompt(words: int) -> Rule:
    """What to make.  words: tokens that the text encoder reads."""
    return {
        "type": "string",
        "title": "Prompt",
        "description": f"What to make. The first {words} tokens are read.",
        "minLength": 1,
        "maxLength": 4000,
    }


def negative_prompt() -> Rule:
    """What to steer away from."""
    return {
        "type": "string",
        "title": "Negative prompt",
        "description": "What to steer away from; needs a guidance above 1.",
        "maxLength": 4000,
        "default": "",
    }


def side(title: str, multiple: int, *, most: int = 2048, usual: int = 1024) -> Rule:
    """Width or height in pixels."""
    return {
        "type": "integer",
        "title": title,
        "description": f"{title} in pixels: a multiple of {multiple}, from 256 to {most}.",
        "multipleOf": multiple,
        "minimum": 256,
        "maximum": most,
        "default": usual,
    }


def size(sizes: list[str]) -> Rule:
    """Width and height of a clip; the first is the usual one."""
    return {
        "type": "string",
        "title": "Size",
        "description": "Width × height of the video in pixels.",
        "enum": sizes,
        "default": sizes[0],
    }


def seconds(most: int, fps: int) -> Rule:
    """Length of a clip."""
    return {
        "type": "integer",
        "title": "Seconds",
        "description": f"Length of the video at {fps} frames per second.",
        "enum": list(range(1, most + 1)),
        "default": most,
    }


def steps(usual: int, most: int = 100) -> Rule:
    """Denoising steps."""
    return {
        "type": "integer",
        "title": "Steps",
        "description": "Denoising steps. More take longer and add detail.",
        "minimum": 1,
        "maximum": most,
        "default": usual,
    }


def guidance(usual: float, most: float = 20, least: float = 1) -> Rule:
    """How strictly the prompt is followed."""
    return {
        "type": "number",
        "title": "Guidance",
        "description": "How strictly the result follows the prompt.",
        "minimum": least,
        "maximum": most,
        "default": usual,
    }


def scheduler(names: list[str]) -> Rule:
    """Which way to walk from noise to the picture; the first is the usual one."""
    return {
        "type": "string",
        "title": "Scheduler",
        "description": "Which way to walk from noise to the picture.",
        "enum": names,
        "default": names[0],
    }


def image() -> Rule:
    """The picture that a clip begins with."""
    return {
        "type": "string",
        "format": "uri",
        "x-media": "image",
        "title": "Image",
        "description": "The first frame; it is cut to the asked size.",
    }


def seed() -> Rule:
    """Where the noise begins."""
    return {
        "type": "integer",
        "title": "Seed",
        "description": "The same seed makes the same result. Left empty, the run gets its own. "
        "Further results of a run use the following seeds.",
        "minimum": 0,
        "maximum": 2147483647,
    }


def count(most: int = 4) -> Rule:
    """Number of results."""
    return {
        "type": "integer",
        "title": "Count",
        "description": "Number of results.",
        "minimum": 1,
        "maximum": most,
        "default": 1,
    }


def loras(names: list[str], most: int) -> Rule:
    """Adapters that the model wears for a run."""
    return {
        "type": "array",
        "title": "Adapters",
        "description": "LoRA adapters to draw with, each with its weight.",
        "maxItems": most,
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "enum": names},
                "weight": {"type": "number", "minimum": -4, "maximum": 4, "default": 1},
            },
        },
    }


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give what an input is where nobody says it."""
    rules = schema["properties"].items()
    return {name: rule["default"] for name, rule in rules if "default" in rule}
