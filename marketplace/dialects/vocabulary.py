"""One vocabulary for what all clients say: a caller's words, mapped to a release's own inputs.

`num_images`, `n` and `num_outputs` mean `count`; `guidance_scale` means `guidance`. A release that
names an input itself is taken at its word. What cannot be said to a release without loss is
refused, naming the caller's own word and what is allowed. Sizes are `geometry`'s.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.dialects import geometry
from marketplace.errors import InvalidInput
from marketplace.metering.inputs import validated
from marketplace.metering.offer import Offer

SYNONYMS = {
    "prompt": ("text", "prompt_text", "text_prompt"),
    "negative_prompt": ("negative", "prompt_negative"),
    "seconds": ("duration", "duration_seconds", "num_seconds", "video_length", "length"),
    "fps": ("frame_rate", "frames_per_second"),
    "seed": ("random_seed",),
    "count": ("n", "num_images", "num_outputs", "number_of_images", "num_videos", "batch_size"),
    "image": (
        "image_url", "input_image", "input_reference", "start_image", "first_frame_image",
        "init_image", "image_urls", "images", "input_images",
    ),
    "mask": ("mask_image", "mask_url", "mask_image_url"),
    "video": ("video_url", "input_video"),
    "strength": ("prompt_strength", "image_strength", "denoising_strength"),
    "guidance": ("guidance_scale", "cfg_scale", "cfg", "true_cfg_scale"),
    "steps": ("num_inference_steps", "num_steps", "inference_steps", "sample_steps"),
    "sound": ("audio", "generate_audio", "enable_audio", "with_audio"),
}  # fmt: skip
CANONICAL = {said: word for word, others in SYNONYMS.items() for said in (word, *others)}
NUMBER = re.compile(r"(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)s?")  # `8s` is how some say eight seconds
TRUTH = {"true": True, "false": False}


class Unfit(InvalidInput):
    """What the release cannot do. param: the caller's own word for it."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """inputs: validated, defaults filled in. words: the release's name → the caller's."""

    inputs: dict[str, Any]
    words: Mapping[str, str]


def fitted(offer: Offer, arguments: Mapping[str, Any]) -> Fitted:
    """The release's inputs that `arguments` mean. Raises Unfit.

    What is None counts as not said, as clients send it for every parameter left alone.
    """
    words: dict[str, str] = {}
    try:
        inputs = translated(offer.schema, arguments, words)
        return Fitted(validated(offer, inputs), words)
    except InvalidInput as refusal:
        raise reworded(refusal, words) from None


def translated(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], words: dict[str, str]
) -> dict[str, Any]:
    """The release's names and types for what was said; fills `words`. Raises InvalidInput."""
    properties = schema.get("properties", {})
    said = {word: value for word, value in arguments.items() if value is not None}
    inputs, sizes = geometry.taken(properties, said)
    words |= sizes
    for word, value in said.items():
        name = own_name(properties, word)
        if word in geometry.WORDS or (name not in properties and says_one(word, value)):
            continue
        meant = shaped(properties.get(name, {}), value)
        if name not in words:
            inputs[name], words[name] = meant, word
        elif inputs[name] != meant:  # some clients say one picture in every word they know
            raise InvalidInput(f"{word} and {words[name]} say the same; send one.", param=word)
    return inputs


def says_one(word: str, value: Any) -> bool:
    """Whether it asks for one output, as a release without a word for it gives."""
    return CANONICAL.get(word) == "count" and value in (1, "1")


def own_name(properties: Mapping[str, Any], word: str) -> str:
    """What the release calls it; an unknown word stays, to be refused with the known ones."""
    if word in properties:
        return word
    meaning = CANONICAL.get(word)
    return next((name for name in properties if meaning and CANONICAL.get(name) == meaning), word)


def shaped(declared: Mapping[str, Any], value: Any) -> Any:
    """The value in the type that the release asks for, where nothing is lost by it."""
    kind = declared.get("type")
    if isinstance(value, str) and kind in ("integer", "number"):
        return number(value)
    if isinstance(value, str) and kind == "boolean":
        return TRUTH.get(value.lower(), value)
    if isinstance(value, list) and kind == "string" and len(value) == 1:
        return value[0]
    if isinstance(value, str) and kind == "array":
        return [value]
    if isinstance(value, int) and not isinstance(value, bool) and kind == "string":
        forms = [form for form in (str(value), f"{value}s") if form in declared.get("enum", ())]
        return forms[0] if forms else str(value)
    return value


def number(text: str) -> Any:
    """The number that a form field holds; other text stays, to be refused."""
    found = NUMBER.fullmatch(text)
    if not found:
        return text
    return float(found[1]) if "." in found[1] else int(found[1])


def reworded(refusal: InvalidInput, words: Mapping[str, str]) -> Unfit:
    """The refusal in the caller's words; one that speaks them already stays."""
    family, _, place = (refusal.param or "").partition(".")
    if family != "inputs":
        return Unfit(refusal.message, param=refusal.param, **refusal.facts)
    name, _, rest = place.partition(".")
    word = words.get(name, name)
    own = f"{word}.{rest}" if rest else word
    return Unfit(refusal.message.replace(f"inputs.{place}", own), param=own, **refusal.facts)
