"""The eight transformers that the compiler is held to, with random weights and any depth.

Sizes are those of `size` in tokens; a tiny family has the same blocks at a fraction of the width.
Weights are drawn so that no gate is near zero, or errors behind a gate would not show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

Inputs = dict[str, Any]
BF16 = torch.bfloat16


@dataclass(frozen=True)
class Size:
    """How much one forward sees: pictures or clips at once, latent grid, words."""

    batch: int
    frames: int
    height: int
    width: int
    text: int

    @property
    def tokens(self) -> int:
        """Latent positions of one picture or clip."""
        return self.frames * self.height * self.width


@dataclass(frozen=True)
class Family:
    """A diffusers class, its published configuration, what is smaller when tiny, and its inputs."""

    kind: str
    config: dict[str, Any]
    tiny: dict[str, Any]
    size: Size
    inputs: Callable[[dict[str, Any], Size], Inputs]
    depths: tuple[str, ...] = ("num_layers",)

    def build(self, *, tiny: bool = True, dtype: torch.dtype = BF16, **overrides: Any) -> nn.Module:
        """Make the module, in evaluation mode, with parts kept in float32 as its class asks."""
        config = self.config | (self.tiny if tiny else {}) | overrides
        module: nn.Module = getattr(diffusers, self.kind)(**config).eval().requires_grad_(False)
        kept = {
            name: tensor.detach().clone()
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]
            if not kept_in_float32(module).isdisjoint(name.split("."))
        }
        nn.Module.to(module, dtype)  # diffusers' own `to` warns of what is restored here
        for name, tensor in kept.items():
            owner, _, leaf = name.rpartition(".")
            restore(module.get_submodule(owner), leaf, tensor)
        draw(module)
        return module

    def example(self, size: Size, *, tiny: bool = True, dtype: torch.dtype = BF16) -> Inputs:
        """Make inputs of that size."""
        made = self.inputs(self.config | (self.tiny if tiny else {}), size)
        return {**cast(made, dtype), "return_dict": False}


def kept_in_float32(module: nn.Module) -> set[str]:
    """Name the parts that a class keeps in float32 when it is loaded in half precision."""
    return set(getattr(module, "_keep_in_fp32_modules", None) or ())


def restore(part: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a parameter or a buffer back as it was."""
    if name in part._parameters:
        part._parameters[name] = nn.Parameter(tensor, requires_grad=False)
    else:
        part._buffers[name] = tensor


def draw(module: nn.Module) -> None:
    """Fill matrices with N(0, 1/√fan-in), vectors with N(0, 0.5), from one seed."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        nn.init.normal_(parameter, 0, 1 / sqrt(fan_in))


def cast(inputs: Any, dtype: torch.dtype) -> Any:
    """Cast the bfloat16 tensors among inputs."""
    if isinstance(inputs, dict):
        return {name: cast(one, dtype) for name, one in inputs.items()}
    return inputs.to(dtype) if isinstance(inputs, Tensor) and inputs.dtype == BF16 else inputs


def noise(*shape: int) -> Tensor:
    """Draw normal bfloat16 numbers."""
    return torch.randn(*shape, dtype=BF16)


def grid(size: Size) -> Tensor:
    """Give each token its (frame, row, column).  (N, 3) float32."""
    axes = [torch.arange(n).float() for n in (size.frames, size.height, size.width)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def flux(config: dict[str, Any], size: Size) -> Inputs:
    """FLUX.1: packed latents, text, pooled text, positions."""
    return {
        "hidden_states": noise(size.batch, size.tokens, config["in_channels"]),
        "encoder_hidden_states": noise(size.batch, size.text, config["joint_attention_dim"]),
        "pooled_projections": noise(size.batch, config["pooled_projection_dim"]),
        "timestep": noise(size.batch).sigmoid(),
        "img_ids": grid(size),
        "txt_ids": torch.zeros(size.text, 3),
        "guidance": noise(size.batch),
    }


def flux2(config: dict[str, Any], size: Size) -> Inputs:
    """FLUX.2: the same with four axes and no pooled text."""
    made = flux(config | {"pooled_projection_dim": 1}, size)
    del made["pooled_projections"]
    ids = torch.cat([grid(size), torch.zeros(size.tokens, 1)], 1)
    alike = {"img_ids": ids, "txt_ids": torch.zeros(size.text, 4)}
    return made | {name: one.expand(size.batch, -1, -1) for name, one in alike.items()}


def qwen(config: dict[str, Any], size: Size) -> Inputs:
    """Qwen-Image: packed latents and text."""
    return {
        "hidden_states": noise(size.batch, size.tokens, config["in_channels"]),
        "encoder_hidden_states": noise(size.batch, size.text, config["joint_attention_dim"]),
        "encoder_hidden_states_mask": torch.ones(size.batch, size.text, dtype=torch.long),
        "timestep": noise(size.batch).sigmoid(),
        "img_shapes": [[(size.frames, size.height, size.width)]] * size.batch,
    }


def sd3(config: dict[str, Any], size: Size) -> Inputs:
    """SD3: latents in 2x2 patches, text, pooled text."""
    return {
        "hidden_states": noise(size.batch, config["in_channels"], 2 * size.height, 2 * size.width),
        "encoder_hidden_states": noise(size.batch, size.text, config["joint_attention_dim"]),
        "pooled_projections": noise(size.batch, config["pooled_projection_dim"]),
        "timestep": noise(size.batch).sigmoid(),
    }


def wan(config: dict[str, Any], size: Size) -> Inputs:
    """Wan: video latents in 1x2x2 patches and text."""
    clip = (size.frames, 2 * size.height, 2 * size.width)
    return {
        "hidden_states": noise(size.batch, config["in_channels"], *clip),
        "encoder_hidden_states": noise(size.batch, size.text, config["text_dim"]),
        "timestep": torch.full((size.batch,), 500),
    }


def ltx(config: dict[str, Any], size: Size) -> Inputs:
    """LTX-Video: packed video latents, text and its mask."""
    return {
        "hidden_states": noise(size.batch, size.tokens, config["in_channels"]),
        "encoder_hidden_states": noise(size.batch, size.text, config["caption_channels"]),
        "encoder_attention_mask": torch.ones(size.batch, size.text, dtype=torch.long),
        "timestep": torch.full((size.batch,), 500),
        "num_frames": size.frames,
        "height": size.height,
        "width": size.width,
    }


def hunyuan(config: dict[str, Any], size: Size) -> Inputs:
    """HunyuanVideo: video latents, text and its mask, pooled text."""
    made = wan(config | {"text_dim": config["text_embed_dim"]}, size)
    return made | {
        "encoder_attention_mask": torch.ones(size.batch, size.text, dtype=torch.long),
        "pooled_projections": noise(size.batch, config["pooled_projection_dim"]),
        "guidance": noise(size.batch),
    }


def sdxl(config: dict[str, Any], size: Size) -> Inputs:
    """SDXL: latents, text, and the extra embedding of sizes."""
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    return {
        "sample": noise(size.batch, config["in_channels"], size.height, size.width),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": noise(size.batch, size.text, config["cross_attention_dim"]),
        "added_cond_kwargs": {
            "text_embeds": noise(size.batch, pooled),
            "time_ids": noise(size.batch, 6),
        },
    }


TINY = Size(1, 1, 16, 16, 24)  # what a tiny family is shown
NARROW = {"attention_head_dim": 32, "num_attention_heads": 4}
DUAL = ("num_layers", "num_single_layers")
FAMILIES: dict[str, Family] = {
    "flux-1-dev": Family(
        "FluxTransformer2DModel",
        {"in_channels": 64, "num_layers": 19, "num_single_layers": 38, "guidance_embeds": True,
         "joint_attention_dim": 4096, "pooled_projection_dim": 768},
        NARROW | {"joint_attention_dim": 64, "pooled_projection_dim": 64, "num_layers": 2,
                  "num_single_layers": 2, "axes_dims_rope": (8, 12, 12)},
        Size(1, 1, 64, 64, 512), flux, DUAL,
    ),
    "flux-2-dev": Family(
        "Flux2Transformer2DModel",
        {"in_channels": 128, "num_layers": 8, "num_single_layers": 48,
         "joint_attention_dim": 15360},
        NARROW | {"joint_attention_dim": 64, "num_layers": 2, "num_single_layers": 2,
                  "axes_dims_rope": (8, 8, 8, 8)},
        Size(1, 1, 64, 64, 512), flux2, DUAL,
    ),
    "qwen-image": Family(
        "QwenImageTransformer2DModel",
        {"in_channels": 64, "num_layers": 60, "joint_attention_dim": 3584},
        NARROW | {"joint_attention_dim": 64, "num_layers": 2, "axes_dims_rope": (8, 12, 12)},
        Size(1, 1, 83, 83, 256), qwen,
    ),
    "sd3.5-large": Family(
        "SD3Transformer2DModel",
        {"in_channels": 16, "num_layers": 38, "attention_head_dim": 64, "num_attention_heads": 38,
         "joint_attention_dim": 4096, "caption_projection_dim": 2432, "pooled_projection_dim": 2048,
         "pos_embed_max_size": 192, "qk_norm": "rms_norm"},
        NARROW | {"num_layers": 2, "joint_attention_dim": 64, "caption_projection_dim": 128,
                  "pooled_projection_dim": 64, "sample_size": 32, "pos_embed_max_size": 24},
        Size(2, 1, 64, 64, 333), sd3,
    ),
    "ltx-video-2b": Family(
        "LTXVideoTransformer3DModel",
        {"in_channels": 128, "num_layers": 28, "caption_channels": 4096},
        NARROW | {"num_layers": 2, "cross_attention_dim": 128, "caption_channels": 64},
        Size(1, 21, 16, 22, 128), ltx,
    ),
    "wan-2.1-1.3b": Family(
        "WanTransformer3DModel",
        {"in_channels": 16, "num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960},
        NARROW | {"num_layers": 2, "ffn_dim": 512, "text_dim": 64, "rope_max_seq_len": 64},
        Size(1, 21, 30, 52, 512), wan,
    ),
    "hunyuan-video": Family(
        "HunyuanVideoTransformer3DModel",
        {"in_channels": 16, "num_layers": 20, "num_single_layers": 40, "num_refiner_layers": 2,
         "text_embed_dim": 4096, "pooled_projection_dim": 768},
        NARROW | {"num_layers": 2, "num_single_layers": 2, "num_refiner_layers": 1,
                  "text_embed_dim": 64, "pooled_projection_dim": 64, "rope_axes_dim": (8, 12, 12)},
        Size(1, 33, 45, 80, 256), hunyuan, DUAL,
    ),
    "sdxl": Family(
        "UNet2DConditionModel",
        {"in_channels": 4, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
         "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20),
         "use_linear_projection": True, "addition_embed_type": "text_time",
         "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816},
        {"block_out_channels": (32, 64, 64), "transformer_layers_per_block": (1, 1, 1),
         "layers_per_block": 1,
         "attention_head_dim": (2, 4, 4), "cross_attention_dim": 32, "norm_num_groups": 8,
         "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80},
        Size(2, 1, 128, 128, 77), sdxl, (),
    ),
}  # fmt: skip
