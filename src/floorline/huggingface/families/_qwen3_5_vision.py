"""What Qwen3.5 sees with: patches of two frames, learned and rotary positions, layers, 2×2 neighbours merged into one token.

Pictures have any shape; where none is said, one has as many patches as the table of positions has rows.

Source: transformers 5.23, models/qwen3_5/configuration_qwen3_5.py and modeling_qwen3_5.py (qwen3_5_moe is the same).
"""

from __future__ import annotations

from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.projector import merged
from floorline.blocks.vision import patches
from floorline.huggingface.common import layers
from floorline.huggingface.config import Config
from floorline.huggingface.vision import Tower, close, encoder, pair, part, widths
from floorline.num import Num
from floorline.transformer import IMAGE, Stack


def vision_stacks(config: Config) -> tuple[Stack, ...]:
    """The picture tower of a whole model, whose merger ends in the text's width."""
    own = part(config, "vision_config")
    tower = Tower(sizes=sizes_of(own), modality=IMAGE)
    activation = own.activation("hidden_act", "gelu_pytorch_tanh")
    stacks = (
        tower.stack(patches(frames=True, name="patches")),
        tower.stack(encoder(activation, rotary=True, name="vision"), layers(own, "depth", 27.0)),
        tower.stack(merged(LAYER_NORM, "gelu", bias=True)),
    )
    close(own, "deepstack_visual_indexes", "initializer_range")
    return stacks


def sizes_of(config: Config) -> dict[str, Num]:
    """Letters of the tower: N patches, cut out and laid one below the other, become q tokens."""
    sizes = widths(config, width=1152.0, heads=16.0, inner=4304.0, key="num_heads")
    (i, j), number = pair(config, "patch_size", 16.0), config.size("num_position_embeddings", 2304.0)
    merge, frames = config.size("spatial_merge_size", 2.0), config.size("temporal_patch_size", 2.0)
    four = sizes["D"] * merge * merge
    sizes |= {"i": i, "j": j, "a": frames, "c": config.size("in_channels", 3.0), "u": number * i, "w": j * frames}
    sizes |= {"N": number, "P": number, "m": number, "q": number / (merge * merge)}
    return {**sizes, "e": four, "o": four, "s": four, "b": config.size("out_hidden_size", 3584.0)}
