"""What Llama 4 sees with: a ViT with rotary positions over one tile, neighbours laid side by side, three matmuls to the text.

Source: transformers 5.23, models/llama4/configuration_llama4.py and modeling_llama4.py.
"""

from __future__ import annotations

from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.projector import merged
from floorline.blocks.vision import patches
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config
from floorline.huggingface.vision import Tower, close, encoder, part, picture, widths
from floorline.num import Num
from floorline.transformer import IMAGE, Stack


def vision_stacks(config: Config, width: Num) -> tuple[Stack, ...]:
    """The picture tower and the projection of a whole model.

    config  of the whole
    width   of the text
    """
    own = part(config, "vision_config")
    sizes = widths(own, width=768.0, heads=16.0, inner=5632.0)
    sizes |= picture(own, image=448.0, patch=14.0, extra=1.0)
    share = own.share("pixel_shuffle_ratio", 0.5)
    middle, out = own.size("projector_input_dim", 4096.0), own.size("projector_output_dim", 4096.0)
    sizes |= {"q": sizes["N"] * share * share, "e": sizes["F"], "o": middle, "s": out, "t": out}
    sizes |= {"z": own.size("vision_output_dim", 7680.0), "b": width}
    tower = Tower(sizes=sizes, modality=IMAGE)
    block = encoder("gelu", rotary=True, attention_drop=drops(own, "attention_dropout"), name="vision")
    stacks = (
        tower.stack(patches(bias=False, extra=("Wclass[D]",), norm=LAYER_NORM, name="patches")),
        tower.stack(block, layers(own, default=34.0)),
        tower.stack(merged(LAYER_NORM, "gelu", bias=False, last=True)),
    )
    close(own, "vision_feature_layer", "num_global_layers")
    return stacks
