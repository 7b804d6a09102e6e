"""The gate lets through what its class allows, and names by how much a plan exceeds it."""

from __future__ import annotations

import pytest
import torch

from inference.compiler.parity import ParityError, check, same_bits
from inference.kernels import Exactness

TRUTH = torch.linspace(-3, 3, 1000)
EAGER = TRUTH.bfloat16()
E0, E1, E2 = Exactness.E0, Exactness.E1, Exactness.E2


def test_the_same_bits_pass_in_every_class() -> None:
    for exactness in (E0, E1, E2):
        assert check(exactness, EAGER.clone(), EAGER, None).same_bits


def test_one_bit_is_too_much_for_e0() -> None:
    ours = EAGER.clone()
    ours[7] = 0
    with pytest.raises(ParityError, match="E0: 1 of 1000 differ"):
        check(E0, ours, EAGER, TRUTH)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(0.0, -0.0, False), (-0.0, -0.0, True), (float("nan"), float("nan"), True),
     (float("inf"), float("inf"), True), (float("inf"), float("nan"), False)],
)  # fmt: skip
def test_bits_are_compared_not_values(one: float, other: float, same: bool) -> None:
    assert same_bits(torch.tensor([one]), torch.tensor([other])) is same


def test_another_dtype_or_shape_is_not_the_same() -> None:
    assert not same_bits(EAGER, EAGER.float())
    assert not same_bits(EAGER, EAGER[:-1])


def test_rounding_otherwise_passes_e1() -> None:
    ours = torch.nextafter(EAGER, EAGER + 1)
    nearer = torch.where((ours.float() - TRUTH).abs() < (EAGER.float() - TRUTH).abs(), ours, EAGER)
    nearer[500] = torch.nextafter(nearer[500], torch.zeros((), dtype=torch.bfloat16))
    found = check(E1, nearer, EAGER, TRUTH)
    assert not found.same_bits
    assert found.ours is not None
    assert found.eager is not None
    assert found.ours <= 1.1 * found.eager


def test_noise_is_blocked_with_its_figures() -> None:
    with pytest.raises(ParityError, match=r"E1: relative L2 .* eager's own is"):
        check(E1, (EAGER.float() * 1.01).bfloat16(), EAGER, TRUTH)


def test_one_far_value_is_blocked_though_the_rest_is_near() -> None:
    ours = TRUTH.clone()
    ours[500] += 0.05
    with pytest.raises(ParityError, match="E1: largest deviation"):
        check(E1, ours, EAGER, TRUTH)


def test_nan_is_blocked() -> None:
    ours = EAGER.clone()
    ours[3] = float("nan")
    with pytest.raises(ParityError):
        check(E1, ours, EAGER, TRUTH)


def test_e2_is_measured_and_let_through() -> None:
    found = check(E2, (EAGER.float() * 1.01).bfloat16(), EAGER, TRUTH)
    assert found.ours is not None
    assert found.ours == pytest.approx(0.01, rel=0.1)
