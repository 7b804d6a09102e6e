"""Captions: a drawing's names in a few phrasings, with colours, sizes, groups and neighbours."""

from __future__ import annotations

import random

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from inference.models.glyph import TOKENS, plain
from inference.train.glyphs import Glyph
from inference.train.words import COLOURS, GROUPS

PHRASES = (
    "{}", "{}", "{}", "{}", "a {}", "a {}", "one {}", "the {}", "{} emoji", "a {} emoji",
    "a picture of a {}", "an icon of a {}", "a drawing of a {}", "a cute {}", "cute {}",
    "{} on a white background", "emoji of {}",
)  # fmt: skip
GROUPED = ("{}, {}", "{} {}", "{}: {}")  # a name and the word of its group
SIZES = {"tiny": 0.375, "little": 0.5625, "small": 0.5625, "big": 1.0, "large": 1.0, "huge": 1.0}
BESIDE = ("{} and {}", "{} and {}", "a {} and a {}", "{} next to {}", "{} with {}")
ABOVE, BELOW = ("{} above {}", "{} over {}"), ("{} below {}", "{} under {}")
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
UNKNOWN = "zzzunknownzzz"


def name_of(glyph: Glyph, source: random.Random) -> str:
    """Say a drawing's plain name half of the time, else one of its synonyms."""
    return glyph.words[0] if source.random() < 0.5 else source.choice(glyph.words)


def phrase(name: str, source: random.Random) -> str:
    """Put a name into some phrasing."""
    said = source.choice(PHRASES).format(name)
    if source.random() < 0.06:  # an unknown adjective must not break what follows
        said = f"{UNKNOWN} {said}"
    return said.replace(f"a {name}", f"an {name}") if name[0] in "aeiou" else said


def grouped(name: str, group: str, source: random.Random) -> str:
    """Say the group beside the name, or, more rarely, alone."""
    return group if source.random() < 0.3 else source.choice(GROUPED).format(name, group)


def build_tokenizer(glyphs: list[Glyph]) -> PreTrainedTokenizerFast:
    """Number every word that a caption can hold; anything else is [UNK]."""
    texts = [word for glyph in glyphs for word in glyph.words]
    texts += [*PHRASES, *SIZES, *BESIDE, *ABOVE, *BELOW, *COLOURS, *GROUPS, "an"]
    words = sorted({word for text in texts for word in plain(text).split()})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL.values(), *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=TOKENS, **SPECIAL)
