"""Every kernel as sm_90 would run it, at the families' real sizes, with no GPU here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import inference.kernels.fp8  # noqa: F401 - its kernels count too
from inference.kernels.ahead import SHARED_LIMIT, compiled, source
from inference.kernels.fused import FUSED, refused
from inference.kernels.language import Launch, rounding, watched
from inference.kernels.specimens import APPROXIMATE, SPECIMENS, Draw, Specimen

SMALL = {"lines"}  # reads sums, not pictures
READS_ONLY = {"moments"}  # writes sums
every = pytest.mark.parametrize("specimen", [*SPECIMENS, *APPROXIMATE], ids=lambda one: one.name)


def launches(specimen: Specimen, dtype: torch.dtype = torch.bfloat16) -> list[Launch]:
    """What the specimen would launch; nothing was refused."""
    before = refused.total()
    with watched() as launched:
        FUSED[specimen.template](*specimen.arguments(Draw("meta", dtype)))
    assert refused.total() == before
    assert launched
    return launched


def check(launch: Launch) -> None:
    """Fits, does not spill, and moves 128 bits at a time."""
    code = compiled(launch)
    kernel = code.name.rpartition(".")[2]
    print(code)
    assert code.shared <= SHARED_LIMIT
    assert not code.spilled()
    assert launch.grid[0] < 2**31
    assert max(launch.grid[1:]) < 2**16
    if kernel not in SMALL:
        assert code.wide("ld")
        assert kernel in READS_ONLY or code.wide("st")


@every
def test_a_kernel_fits_an_h200_and_moves_128_bits_at_a_time(specimen: Specimen) -> None:
    for launch in launches(specimen):
        check(launch)


@pytest.mark.parametrize("name", sorted(FUSED))
def test_so_it_does_with_fp32_inside(name: str) -> None:
    specimen = next(one for one in [*SPECIMENS, *APPROXIMATE] if one.template == name)
    with rounding(replicate=False):
        for launch in launches(specimen):
            check(launch)


def test_norms_of_video_vaes_do_so_in_float32_as_wans_is_served() -> None:
    for specimen in SPECIMENS:
        if specimen.template == "channel_norm_silu":
            for launch in launches(specimen, torch.float32):
                check(launch)


@every
def test_another_resolution_compiles_nothing_new(specimen: Specimen) -> None:
    """A launch is specialised on widths and switches; token counts are plain arguments."""
    other = replace(specimen, size=replace(specimen.size, image=96 * 96, text=77))
    hashes = [[source(one).hash() for one in launches(each)] for each in (specimen, other)]
    assert hashes[0] == hashes[1]
