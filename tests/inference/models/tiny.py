"""Tiny random pipelines of diffusers' own classes: text encoders and tokenizers made in code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from tokenizers import pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaModel,
    LlamaTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'"
WIDTH = 32  # of every text encoder's states


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draw weights from one seed, and leave the generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def clip_tokenizer(words: int = 16) -> Any:
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for letter in LETTERS:
        vocab[letter] = len(vocab)
        vocab[f"{letter}</w>"] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=words)


def clip_encoder(*, projected: bool = False, words: int = 16) -> Any:
    config = CLIPTextConfig(
        vocab_size=100, hidden_size=WIDTH, intermediate_size=37, projection_dim=WIDTH,
        num_attention_heads=4, num_hidden_layers=2, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        max_position_embeddings=words,
    )  # fmt: skip
    with seeded():
        return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*pieces, *((letter, -3.0) for letter in LETTERS)], extra_ids=0)


def t5_config() -> dict[str, Any]:
    return {"vocab_size": 64, "d_model": WIDTH, "d_kv": 8, "d_ff": 37, "num_layers": 2,
            "num_heads": 4, "dropout_rate": 0.0}  # fmt: skip


def t5_encoder(width: int = WIDTH) -> Any:
    with seeded():
        return T5EncoderModel(T5Config(**t5_config() | {"d_model": width})).eval()


def stirred(module: Any, seed: int = 0) -> Any:
    """Redraw a network's weights so that no output is near zero, as fresh layers' often are."""
    with seeded(seed), torch.no_grad():
        for weight in module.parameters():
            fan_in = weight[0].numel() if weight.ndim > 1 else 16
            weight.copy_(torch.randn_like(weight) / fan_in**0.5 + (weight.ndim == 1) * weight)
    return module.eval()


def umt5_encoder() -> Any:
    with seeded():
        return UMT5EncoderModel(UMT5Config(**t5_config())).eval()


def clip_eye() -> Any:
    config = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        image_size=16, patch_size=8, projection_dim=WIDTH,
    )  # fmt: skip
    with seeded():
        return CLIPVisionModel(config).eval()


def clip_processor() -> Any:
    return CLIPImageProcessor(crop_size={"height": 16, "width": 16}, size={"shortest_edge": 16})


def picture(width: int, height: int) -> Image.Image:
    """A picture of noise."""
    levels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(3))
    return Image.fromarray(levels.to(torch.uint8).numpy())


def qwen_tokenizer() -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: place for place, letter in enumerate(["<|endoftext|>", *letters])}
    return Qwen2Tokenizer(vocab=vocab, merges=[])


def qwen_encoder() -> Any:
    text = {
        "vocab_size": 300, "hidden_size": WIDTH, "intermediate_size": 37, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3],
                            "rope_theta": 1e6},
    }  # fmt: skip
    eye = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
           "out_hidden_size": WIDTH, "fullatt_block_indexes": [0]}  # fmt: skip
    with seeded():
        config = Qwen2_5_VLConfig(text_config=text, vision_config=eye)
        return Qwen2_5_VLForConditionalGeneration(config).eval()


def llama_tokenizer() -> Any:
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    names = ["<unk>", "<s>", "</s>", "▁", *letters, *LETTERS]
    return LlamaTokenizer(
        vocab={name: place for place, name in enumerate(names)}, merges=[],
        pad_token="</s>", padding_side="right",
    )  # fmt: skip


def llama_encoder() -> Any:
    config = LlamaConfig(
        vocab_size=512, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    with seeded():
        return LlamaModel(config).eval()


MISTRAL_TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}]"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
DEEP = {
    "vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 31,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 1024,
}  # fmt: skip


def qwen3_encoder() -> Any:
    with seeded():
        return Qwen3ForCausalLM(Qwen3Config(**DEEP)).eval()


def chatting(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template
    return tokenizer


def mistral_encoder() -> Any:
    eye = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
           "num_attention_heads": 2, "image_size": 16, "patch_size": 8, "head_dim": 8}  # fmt: skip
    config = Mistral3Config(
        text_config=DEEP | {"model_type": "mistral"},
        vision_config=eye | {"model_type": "pixtral"}, image_token_index=10,
    )  # fmt: skip
    with seeded():
        return Mistral3ForConditionalGeneration(config).eval()
