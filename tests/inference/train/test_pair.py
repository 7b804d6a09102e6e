"""Weights of one patch draw the same through weights of a larger one, before any training."""

from __future__ import annotations

from pathlib import Path

import torch

from inference.models.glyph import patches, pixels, predict, spread
from inference.train.captions import build_tokenizer
from inference.train.export import export
from inference.train.glyphs import Glyph
from inference.train.pair import Pair, warm


def test_warm_weights_see_averages_and_draw_blocks(drawings: list[Glyph], tmp_path: Path) -> None:
    torch.manual_seed(0)
    fewer, all_words = build_tokenizer(drawings[:2]), build_tokenizer(drawings)
    old, new = Pair(len(fewer), 4), Pair(len(all_words), 8)
    export(old.network, old.encoder, fewer, tmp_path)
    old.network.bfloat16().float()
    warm(new, all_words, tmp_path)
    large = torch.randn(1, 3, 64, 64) * spread(64)
    small = torch.nn.functional.avg_pool2d(large, 2)
    states, pooled, t = torch.randn(1, 16, 192), torch.randn(1, 192), torch.tensor([0.7])
    with torch.no_grad():
        known = old.network(
            hidden_states=patches(small, 4), encoder_hidden_states=states,
            pooled_projections=pooled, timestep=t, txt_ids=torch.zeros(16, 3),
            img_ids=torch.cartesian_prod(torch.zeros(1), torch.arange(8.0), torch.arange(8.0)),
            return_dict=False,
        )[0]  # fmt: skip
        drawn = predict(new.network, patches(large, 8), t, states, pooled)
    blocks = pixels(known).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(pixels(drawn), blocks, rtol=1e-4, atol=1e-5)


def test_words_that_both_know_keep_their_vectors(drawings: list[Glyph], tmp_path: Path) -> None:
    fewer, all_words = build_tokenizer(drawings[:2]), build_tokenizer(drawings)
    old, new = Pair(len(fewer), 8), Pair(len(all_words), 8)
    export(old.network, old.encoder, fewer, tmp_path)
    warm(new, all_words, tmp_path)
    tables = [pair.encoder.get_input_embeddings().weight for pair in (old, new)]
    places = [one.convert_tokens_to_ids("apple") for one in (fewer, all_words)]
    before, after = (table[place] for table, place in zip(tables, places, strict=True))
    assert torch.equal(before.bfloat16().float(), after)
