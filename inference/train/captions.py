"""Captions of a glyph: one of its names in one of a few phrasings, and the word-level tokenizer."""

from __future__ import annotations

import random

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from inference.models.glyph import TOKENS, plain
from inference.train.glyphs import Glyph

PHRASES = (
    "{}", "{}", "{}", "{}", "a {}", "a {}", "one {}", "the {}", "{} emoji", "a {} emoji",
    "a picture of a {}", "an icon of a {}", "a drawing of a {}", "a cute {}", "cute {}",
    "{} on a white background", "a small {}", "emoji of {}",
)  # fmt: skip
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
UNKNOWN = "zzzunknownzzz"


def phrase(glyph: Glyph, source: random.Random) -> str:
    """Say a glyph in words: its plain name half of the time, else a synonym, in some phrasing."""
    name = glyph.words[0] if source.random() < 0.5 else source.choice(glyph.words)
    said = source.choice(PHRASES).format(name)
    if source.random() < 0.06:  # an unknown adjective must not break what follows
        said = f"{UNKNOWN} {said}"
    if name[0] in "aeiou":
        said = said.replace(f"a {name}", f"an {name}")
    return said


def build_tokenizer(glyphs: list[Glyph]) -> PreTrainedTokenizerFast:
    """Number every word that a caption can hold; anything else is [UNK]."""
    texts = [word for glyph in glyphs for word in glyph.words] + list(PHRASES) + ["an"]
    words = sorted({word for text in texts for word in plain(text).split()})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=TOKENS, **SPECIAL)
