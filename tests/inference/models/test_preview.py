"""Previews are one linear map, looked up by the kind of latent space."""

from __future__ import annotations

import pytest
import torch

from inference.models import REGISTRY, find
from inference.models.family import Family
from inference.models.preview import factors, show

CHANNELS = {"flux": 16, "hunyuan": 16, "ltx": 128, "sd3": 16, "sdxl": 4, "wan": 16}
FITTED = [slug for slug in REGISTRY if issubclass(find(slug), Family) and slug != "flux2"]


@pytest.mark.parametrize("slug", FITTED)
def test_every_family_but_flux2_has_a_fitted_map(slug: str) -> None:
    weights, bias = factors(find(slug).SPACE, CHANNELS[find(slug).SPACE])
    assert bias.any()
    assert (weights.abs().sum(1) > 0).all()


def test_a_pixel_per_position_is_the_map_of_its_latent() -> None:
    latent = torch.zeros(4, 2, 3)
    latent[0, 1, 2] = 1
    weights, bias = factors("sdxl", 4)
    picture = show("sdxl", latent)
    assert picture.size == (3, 2)
    expected = ((weights[0] + bias + 1) * 127.5).round().to(torch.uint8).tolist()
    assert list(picture.getpixel((2, 1))) == expected
    assert list(picture.getpixel((0, 0))) == ((bias + 1) * 127.5).round().to(torch.uint8).tolist()


def test_a_clip_shows_its_middle_frame_and_an_unknown_space_its_first_channels() -> None:
    clip = torch.zeros(5, 3, 1, 1)
    clip[1, 1] = 3
    assert show("none", clip).getpixel((0, 0)) == (128, 255, 128)
