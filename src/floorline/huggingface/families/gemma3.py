"""Gemma 3 with eyes: SigLIP's picture tower, patches averaged to 256 tokens, a projection, the text of gemma3_text.

Source: Gemma 3, arXiv:2503.19786, section 2.1; transformers 5.23, models/gemma3.
"""

from __future__ import annotations

from dataclasses import replace

from floorline.blocks.norm import RMS_NORM
from floorline.blocks.projector import averaged
from floorline.errors import BadInput
from floorline.huggingface.config import Config, rounded
from floorline.huggingface.families.gemma import THIRD, text
from floorline.huggingface.families.siglip import picture_sizes, picture_stacks
from floorline.huggingface.vision import Tower, finish, part
from floorline.num import Num, maximum, power
from floorline.transformer import IMAGE, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "gemma3".

    >>> whole = read(Config({"vision_config": {"vision_use_head": False}}, "small"))
    >>> [s.block.name for s in whole.stacks]
    ['patches', 'vision', 'final', 'projector', 'embedding', 'block', 'block', 'head']
    """
    inner, seen = part(config, "text_config"), part(config, "vision_config")
    if seen.text("model_type", "siglip_vision_model") != "siglip_vision_model":
        raise BadInput(f"{seen.name}: model_type is {seen.values['model_type']!r}; expected 'siglip_vision_model'")
    language = text(inner, THIRD, config.flag("tie_word_embeddings", True))
    sizes = picture_sizes(seen)
    side = rounded(power(config.size("mm_tokens_per_image", 256.0), 0.5))
    tokens = pooled_side(rounded(sizes["u"] / sizes["i"]), side)
    tower = Tower(sizes={**sizes, "q": tokens * tokens, "b": language.sizes["D"]}, modality=IMAGE)
    eyes = (*picture_stacks(seen, tower, "vision"), tower.stack(averaged(RMS_NORM)))
    return finish(replace(language, name=config.name, stacks=(*eyes, *language.stacks)), inner, seen)


def pooled_side(patches: Num, wanted: Num) -> Num:
    """Tokens along a side after patches are averaged by whole windows.

    >>> float(pooled_side(64.0, 16.0))
    16.0
    """
    return rounded(patches / maximum(rounded(patches / wanted), 1.0))
