"""Plans keep the pictures of real weights; tests/proofs/test_fidelity.py asks with 32 prompts."""

from __future__ import annotations

from inference.kernels import Exactness
from tests.inference.fidelity import found

LEAST_DB = 40


def test_exact_plans_keep_pictures() -> None:
    assert min(found(Exactness.E1, ["red heart", "a dog and a cat"], 4)) >= LEAST_DB


def test_the_approximate_tier_is_another_picture_but_a_near_one() -> None:
    (told,) = found(Exactness.E2, ["red heart"], 4)
    assert 15 < told < float("inf")
