"""Walks a family's loop to its end in the ways that tests compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inference.models.contract import Forward, Loop, Step, answered, call, walk
from inference.models.family import Family, Work

Model = Family[Any]


def latents(model: Model, inputs: dict[str, Any], *, joined: bool = False) -> list[Tensor]:
    """Every picture's final latent."""
    return [picture.latent for picture in walked(model, inputs, joined=joined).pictures]


def walked(model: Model, inputs: dict[str, Any], *, joined: bool = False) -> Work:
    """The work of a run at its end.  joined: both branches of guidance in one call."""
    work = model.prepare(inputs)
    for _ in together(model.denoise(work)) if joined else walk(model.denoise(work)):
        pass
    return work


def together(loop: Loop) -> Any:
    """Walk a loop, all forwards of each of its questions in one call."""
    asked = next(loop, None)
    while asked is not None:
        if isinstance(asked, Step):
            yield asked
            asked = next(loop, None)
        else:
            asked = loop.send(list(joint(asked)))


def joint(asked: list[Forward]) -> tuple[Tensor, ...]:
    """Answer forwards that are alike by one call."""
    rows = {name: torch.cat([one.rows[name] for one in asked]) for name in asked[0].rows}
    with torch.inference_mode():
        return asked[0].network(**rows, **asked[0].alike).chunk(len(asked))


def asked(model: Model, inputs: dict[str, Any]) -> list[Forward]:
    """Every forward that a run asks for."""
    seen: list[Forward] = []
    loop = model.denoise(model.prepare(inputs))
    said = next(loop, None)
    while said is not None:
        seen += said if isinstance(said, list) else []
        answers = [call(one) for one in said] if isinstance(said, list) else None
        said = answered(loop, answers or []) if answers else next(loop, None)
    return seen


def pictures(model: Model, inputs: dict[str, Any], *, joined: bool = False) -> list[Any]:
    """What a run draws."""
    return model.decode(walked(model, inputs, joined=joined))


def same_pictures(ours: list[Image.Image], theirs: list[Image.Image]) -> bool:
    """Whether all pixels are equal."""
    return len(ours) == len(theirs) and all(
        np.array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(ours, theirs, strict=True)
    )


def same_clip(ours: Any, theirs: Any) -> bool:
    """Whether all pixels are equal.  theirs: frames in 0..1 as diffusers gives them."""
    return np.array_equal(ours.frames.numpy(), (theirs * 255).round().astype(np.uint8))
