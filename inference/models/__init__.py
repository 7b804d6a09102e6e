"""The open models that are served, each a class named by its path.

A new family is one file beside this one and one line below; classes are imported when first used.
"""

from __future__ import annotations

import importlib

from inference.models.contract import Model

REGISTRY: dict[str, str] = {
    "flux": "inference.models.flux.Flux",
    "flux2": "inference.models.flux2.Flux2",
    "glyph": "inference.models.glyph.Glyph",
    "glyph_motion": "inference.models.glyph_motion.GlyphMotion",
    "glyph_upscale": "inference.models.glyph_upscale.GlyphUpscale",
    "hunyuan": "inference.models.hunyuan.HunyuanVideo",
    "ltx": "inference.models.ltx.LTX",
    "qwen": "inference.models.qwen.QwenImage",
    "sd3": "inference.models.sd3.StableDiffusion3",
    "sdxl": "inference.models.sdxl.StableDiffusionXL",
    "wan": "inference.models.wan.Wan",
}


def find(slug: str, registry: dict[str, str] = REGISTRY) -> type[Model]:
    """Import the class that serves `slug`.  Raises KeyError."""
    module, _, name = registry[slug].rpartition(".")
    found: type[Model] = getattr(importlib.import_module(module), name)
    return found
