"""Write what `motion.py` trained as a diffusers folder in bfloat16 safetensors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from inference.models.glyph_motion import SHIFT

INDEX = {
    "_class_name": "GlyphMotionPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
}


def export(network: Any, encoder: Any, tokenizer: Any, folder: Path) -> None:
    """Save every part under `folder`, which `GlyphMotion.load` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(network).to(torch.bfloat16).save_pretrained(folder / "transformer")
    copy.deepcopy(encoder).to(torch.bfloat16).save_pretrained(folder / "text_encoder")
    scheduler: Any = FlowMatchEulerDiscreteScheduler(shift=SHIFT)
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "tokenizer").mkdir(exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(special, indent=1))
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)  # safetensors writes files that only their owner may read
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=1) + "\n")
