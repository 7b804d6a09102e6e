"""Every family runs on plans as a GPU's worker has it, and draws eager's bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inference.compiler.backend import accelerate
from inference.compiler.serving import decoders, networks, told
from inference.wire import Plan
from tests.inference.models.test_every_family import CASES, Case, files
from tests.inference.models.walking import latents

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)
def test_a_family_on_plans_draws_eagers_bits(case: Case, ours: Any) -> None:
    model = ours(case.family, case.family, case.pipeline)
    inputs = case.inputs | {"steps": 2}
    eager, shown = latents(model, inputs), files(model, inputs)
    every = [*networks(model), *decoders(model)]
    assert model.vae in every
    compilers = [accelerate(one, strict=False) for one in every]
    assert all(map(torch.equal, latents(model, inputs), eager))
    assert files(model, inputs) == shown
    assert told(compilers) == Plan("templates", "E0")
    assert all(one.summary()["graphs"] for one in compilers)
    torch._dynamo.reset()
