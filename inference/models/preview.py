"""Shows latents as a small picture, by one linear map per kind of latent space.

The maps of known spaces are least-squares fits that were published with ComfyUI
(comfy/latent_formats.py); any other space shows its first channels as they are.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

FACTORS = Path(__file__).with_name("previews.json")


@cache
def factors(space: str, channels: int) -> tuple[Tensor, Tensor]:
    """Look up a latent space.  → map (channels, 3), offset (3), both float32 on the CPU."""
    known = json.loads(FACTORS.read_text(encoding="utf-8")).get(space)
    if known and len(known["factors"]) == channels:
        return torch.tensor(known["factors"]), torch.tensor(known["bias"])
    return torch.eye(channels, 3) / 3, torch.zeros(3)


def show(space: str, latent: Tensor) -> Image.Image:
    """Show the estimate of a clean latent, a pixel per position.

    latent: (C, H, W), or (C, T, H, W) of which the middle frame is shown.
    """
    frame = latent[:, latent.shape[1] // 2] if latent.ndim == 4 else latent
    weights, bias = factors(space, frame.shape[0])
    colours = torch.einsum("chw,cr->hwr", frame.float(), weights.to(frame.device))
    levels = ((colours + bias.to(frame.device) + 1) * 127.5).round().clamp(0, 255)
    return Image.fromarray(levels.to(torch.uint8).cpu().numpy())
