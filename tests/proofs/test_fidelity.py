"""Plans on real weights, 32 prompts: exact ones keep 40 dB, fp8 says what it keeps."""

import statistics

import pytest

from inference.kernels import Exactness
from tests.inference.fidelity import PROMPTS, found

pytestmark = pytest.mark.proofs


@pytest.mark.parametrize("exactness", [Exactness.E1, Exactness.E2])
def test_pictures_on_plans(exactness: Exactness) -> None:
    told = found(exactness, PROMPTS, 20)
    print(f"\n{exactness}: least {min(told):.1f} dB, median {statistics.median(told):.1f} dB")
    assert len(told) == 32
    assert exactness == Exactness.E2 or min(told) >= 40
