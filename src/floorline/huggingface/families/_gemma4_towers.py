"""What Gemma 4 sees and hears with: a tower for pictures of any shape, and one for sound, each only where it is configured.

A picture has as many patches as its soft tokens need, 280 times the pooling window's area where nothing else is said; sound
lasts 30 seconds, 750 tokens of 40 ms.

Source: transformers 5.23, models/gemma4/configuration_gemma4.py, modeling_gemma4.py and image_processing_gemma4.py.
"""

from __future__ import annotations

from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.conformer import conformer, heard, subsampled
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import RMS_NORM, Norm
from floorline.blocks.projector import averaged
from floorline.blocks.vision import patches
from floorline.errors import BadInput
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config, divide, rounded
from floorline.huggingface.vision import Tower, close
from floorline.num import Num
from floorline.transformer import AUDIO, IMAGE, Stack

UNSCALED = Norm("rms_norm", weight=False)
SOFT_TOKENS, HALF_MINUTE, MEL_BINS = 280.0, 750.0, 128.0


def tower_stacks(config: Config, width: Num) -> tuple[Stack, ...]:
    """The stacks of both towers.

    config  of the whole
    width   of the text
    """
    stacks: tuple[Stack, ...] = ()
    soft = config.size("vision_soft_tokens_per_image", SOFT_TOKENS)
    if config.get("vision_config") is not None:
        stacks = pictures(config.part("vision_config"), width, soft)
    if config.get("audio_config") is not None:
        stacks = (*stacks, *sounds(config.part("audio_config"), width))
    return stacks


def pictures(config: Config, width: Num, soft: Num) -> tuple[Stack, ...]:
    """Patches with a place in a table for each direction, layers, a mean over neighbours, a projection."""
    attention = Attention(
        rotary=True,
        head_norm=HeadNorm(RMS_NORM),
        value_norm=UNSCALED,
        cached=False,
        softmax="softmax_fp32",
        dropout=drops(config, "attention_dropout"),
    )
    ffn = FeedForward(config.activation("hidden_activation", "gelu_pytorch_tanh"), gated=True)
    block = layer(*(Branch(part=p, before=RMS_NORM, after=RMS_NORM) for p in (attention, ffn)), name="vision")
    tower = Tower(sizes={**picture_sizes(config, soft), "b": width}, modality=IMAGE)
    start = patches(bias=False, positions="aPD", embeds=False, name="patches")
    stacks = (
        tower.stack(start),
        tower.stack(block, layers(config, default=16.0)),
        tower.stack(averaged(UNSCALED, matmul=config.library)),
    )
    close(config, "default_output_length", "global_head_dim")
    return stacks


def picture_sizes(config: Config, soft: Num) -> dict[str, Num]:
    """Letters of the picture tower: N patches, cut out and laid one below the other, become q tokens."""
    d, k, heads = config.size("hidden_size", 768.0), config.size("num_key_value_heads", 12.0), "num_attention_heads"
    pool, patch = config.size("pooling_kernel_size", 3.0), config.size("patch_size", 16.0)
    q = config.size("default_output_length", soft)
    number = q * pool * pool
    return {
        "D": d,
        "K": k,
        "G": divide(config, config.size(heads, 12.0), k, heads, "num_key_value_heads"),
        "H": config.size("head_dim", 64.0),
        "F": config.size("intermediate_size", 3072.0),
        **{"u": number * patch, "w": patch, "i": patch, "j": patch, "c": 3.0, "N": number, "m": number, "q": q},
        **{"a": 2.0, "P": config.size("position_embedding_size", 10240.0)},
    }


def sounds(config: Config, width: Num) -> tuple[Stack, ...]:
    """Convolutions over a spectrogram, conformer layers, a projection."""
    tower = Tower(sizes={**sound_sizes(config), "b": width}, modality=AUDIO)
    block = conformer(config.activation("hidden_act", "silu"))
    stacks = (
        tower.stack(subsampled()),
        tower.stack(block, layers(config, default=12.0)),
        tower.stack(heard(UNSCALED)),
    )
    close(config, "attention_logit_cap", "attention_invalid_logits_value", "residual_weight", "gradient_clipping")
    return stacks


def sound_sizes(config: Config) -> dict[str, Num]:
    """Letters of the sound tower."""
    d, k = config.size("hidden_size", 1024.0), config.size("num_attention_heads", 8.0)
    first, second = channels(config)
    chunk = config.size("attention_chunk_size", 12.0)
    seen = chunk + config.count("attention_context_left", 13.0) - 1.0 + config.count("attention_context_right")
    return {
        **{"D": d, "K": k, "H": rounded(d / k), "F": 4.0 * d, "e": d, "j": config.size("conv_kernel_size", 5.0)},
        **{"X": chunk, "Z": seen, "J": rounded(seen / 2.0) + 1.0, "m": HALF_MINUTE},
        **{"z": 4.0 * HALF_MINUTE, "y": MEL_BINS, "r": 2.0 * HALF_MINUTE, "x": MEL_BINS / 2.0, "w": MEL_BINS / 4.0},
        **{"g": 3.0, "n": 3.0},
        **{"d": first, "p": second, "q": rounded(first / 4.0) * second, "t": config.size("output_proj_dims", 1536.0)},
    }


def channels(config: Config) -> tuple[float, float]:
    """Channels of the two convolutions."""
    given = config.get("subsampling_conv_channels")
    given = [128, 32] if given is None else given
    if not isinstance(given, list) or len(given) != 2:
        raise BadInput(f"{config.name}: subsampling_conv_channels is {str(given)[:40]}; expected two whole numbers")
    both = Config({"first": given[0], "second": given[1]}, f"{config.name} subsampling_conv_channels")
    return float(both.size("first")), float(both.size("second"))
