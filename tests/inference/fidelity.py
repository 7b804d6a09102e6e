"""How far pictures of glyph move when its network runs on a plan: PSNR against eager."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.compiler.backend import accelerate
from inference.kernels import Exactness
from inference.models.contract import walk
from inference.models.glyph import Glyph
from inference.train.evaluate import SHOWN
from inference.wire import WEIGHTS

PROMPTS = SHOWN[:32]
Pictures = np.ndarray[Any, np.dtype[np.uint8]]


class Half(Glyph):
    """The same weights in bfloat16, the type that fp8 products are made from."""

    def predict(self, **rows: Tensor) -> Tensor:
        """Run the network in its own type.  → (B, N, C) float32."""
        t = rows.pop("t")
        return super().predict(t=t, **{name: row.bfloat16() for name, row in rows.items()}).float()


def loaded(exactness: Exactness | None) -> Glyph:
    """Load glyph in bfloat16, eager or on plans of a class."""
    model = Half.load(WEIGHTS / "glyph", "cpu")
    model.network.bfloat16()
    if exactness is not None:
        accelerate(model.network, exactness, strict=False)
    return model


def drawn(model: Glyph, prompts: Sequence[str], steps: int) -> Pictures:
    """Draw each prompt with its own seed.  → (P, S, S, 3)."""
    made = []
    for seed, prompt in enumerate(prompts):
        work = model.prepare(
            {"prompt": prompt, "size": 64, "steps": steps, "guidance": 3, "seed": seed, "count": 1}
        )
        for _ in walk(model.denoise(work)):
            pass
        made.append(np.asarray(model.decode(work)[0]))
    return np.stack(made)


def psnr(ours: Pictures, eager: Pictures) -> list[float]:
    """Compare each pair, in dB; infinite where it is the same picture."""
    errors = np.square(ours.astype(float) - eager.astype(float)).mean((1, 2, 3))
    return [10 * math.log10(255**2 / error) if error else math.inf for error in errors]


def found(exactness: Exactness, prompts: Sequence[str], steps: int) -> list[float]:
    """Give the PSNR of each prompt's picture on plans of a class."""
    torch._dynamo.reset()
    eager = drawn(loaded(None), prompts, steps)
    ours = drawn(loaded(exactness), prompts, steps)
    torch._dynamo.reset()
    return psnr(ours, eager)
