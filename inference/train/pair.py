"""The transformer and its text encoder as one module, cold or from weights of another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from inference.models.glyph import TOKENS, Glyph, encode, predict

WIDTH = 192


class Pair(torch.nn.Module):
    """The transformer and its text encoder, trained as one."""

    def __init__(self, words: int, patch: int) -> None:
        """Build both with random weights."""
        super().__init__()
        self.network: Any = FluxTransformer2DModel(
            patch_size=1, in_channels=3 * patch**2, num_layers=2, num_single_layers=8,
            attention_head_dim=64, num_attention_heads=3, joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH, axes_dims_rope=(8, 28, 28), guidance_embeds=False,
        )  # fmt: skip
        self.encoder: Any = CLIPTextModel(CLIPTextConfig(
            vocab_size=words, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2,
            num_attention_heads=3, max_position_embeddings=TOKENS, projection_dim=WIDTH,
            pad_token_id=0, bos_token_id=2, eos_token_id=3,
        ))  # fmt: skip

    def forward(self, noisy: Tensor, t: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Estimate x0.  noisy (B, N, C), t (B,), ids and mask (B, 16) → (B, N, C)."""
        states, pooled = encode(self.encoder, ids, mask)
        return predict(self.network, noisy, t, states, pooled)


@torch.no_grad()
def warm(pair: Pair, tokenizer: Any, folder: Path) -> None:
    """Start from stored weights of any patch and vocabulary: the first step already draws.

    Words that both know keep their vectors. Patches of more pixels are read as their average and
    written as blocks, which is exact for weights of half the side: see `spread` in models/glyph.
    """
    old = Glyph.load(folder, "cpu")
    known = {name: value.clone() for name, value in old.network.state_dict().items()}
    patch, was = (round((net.config.in_channels / 3) ** 0.5) for net in (pair.network, old.network))
    if patch != was:
        reading = unfold(known["x_embedder.weight"].mT, was, patch).mT / (patch / was) ** 2
        known["x_embedder.weight"] = reading.contiguous()
        for name in ("proj_out.weight", "proj_out.bias"):
            known[name] = unfold(known[name], was, patch)
    pair.network.load_state_dict(known)
    texts = dict(old.encoder.state_dict())
    name = next(name for name in texts if name.endswith("token_embedding.weight"))
    fresh, vectors = pair.encoder.state_dict()[name].clone(), texts[name]
    fresh.mul_(vectors.std() / fresh.std())
    before, now = old.tokenizer.get_vocab(), tokenizer.get_vocab()
    for word in before.keys() & now.keys():
        fresh[now[word]] = vectors[before[word]]
    pair.encoder.load_state_dict(texts | {name: fresh})


def unfold(rows: Tensor, was: int, patch: int) -> Tensor:
    """Repeat each pixel's row for the block that takes its place.  (3·was², …) → (3·patch², …)."""
    times = patch // was
    square = rows.unflatten(0, (3, was, was))
    return square.repeat_interleave(times, 1).repeat_interleave(times, 2).flatten(0, 2)
