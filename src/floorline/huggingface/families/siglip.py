"""SigLIP: CLIP with a text tower that sees both ways, pictures without a class token, and pooling by attention.

Source: Zhai et al. 2023, arXiv:2303.15343, section 4; fields and what is meant where one is left out: transformers 5.23,
models/siglip.
"""

from __future__ import annotations

from floorline.blocks.embedding import embedding, final_norm
from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.vision import attention_pooler, contrast, patches, pooled
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config
from floorline.huggingface.vision import Tower, architecture, encoder, finish, labels, part, picture, widths
from floorline.masks import everything
from floorline.num import Num
from floorline.transformer import Stack, Transformer

DEFAULTS = {"siglip": "SiglipModel", "siglip_text_model": "SiglipTextModel", "siglip_vision_model": "SiglipVisionModel"}
"""model_type → the class that is meant where the configuration names none."""
GELU = "gelu_pytorch_tanh"


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "siglip", "siglip_text_model" or "siglip_vision_model".

    >>> read(Config({"model_type": "siglip"}, "siglip-base-patch16-224")).parameter_count().total
    203155970.0
    """
    model_type = config.text("model_type", "siglip")
    kind = architecture(config, DEFAULTS[model_type])
    if "TextModel" in kind:
        return text_alone(config if model_type == "siglip_text_model" else part(config, "text_config"))
    if kind != "SiglipModel":
        classes = labels(config) if kind.endswith("ImageClassification") else 0.0
        return pictures_alone(config if model_type == "siglip_vision_model" else part(config, "vision_config"), classes)
    text, pictures = part(config, "text_config"), part(config, "vision_config")
    sizes = text_sizes(text)
    tower = Tower(sizes=picture_sizes(pictures))
    stacks = (*text_stacks(text), *picture_stacks(pictures, tower, "vision"), Stack(contrast(bias=True)))
    made = Transformer(config.name, sizes, stacks, max_positions=sizes["P"], learned_positions=True)
    return finish(made, text, pictures)


def text_alone(config: Config) -> Transformer:
    """The text tower."""
    sizes = text_sizes(config)
    stacks = text_stacks(config)
    return finish(Transformer(config.name, sizes, stacks, max_positions=sizes["P"], learned_positions=True), config)


def pictures_alone(config: Config, classes: float) -> Transformer:
    """The picture tower, and a classifier where there are classes."""
    sizes = {**picture_sizes(config), "L": classes}
    tower = Tower(sizes=sizes, own=False)
    last = (tower.stack(pooled(projected="L", name="classifier")),) if classes else ()
    return finish(Transformer(config.name, sizes, (*picture_stacks(config, tower), *last)), config)


def text_sizes(config: Config) -> dict[str, Num]:
    """Letters of the text tower."""
    sizes = widths(config, width=768.0, heads=12.0, inner=3072.0)
    table = {"V": config.size("vocab_size", 32000.0), "P": config.size("max_position_embeddings", 64.0)}
    return {**sizes, **table, "d": sizes["D"], "p": config.size("projection_size", sizes["D"])}


def picture_sizes(config: Config) -> dict[str, Num]:
    """Letters of the picture tower."""
    sizes = widths(config, width=768.0, heads=12.0, inner=3072.0)
    return {**sizes, **picture(config, image=224.0, patch=16.0), "d": sizes["D"]}


def text_stacks(config: Config) -> tuple[Stack, ...]:
    """Tokens and positions, layers, a last norm, a projection of the last token."""
    block = encoder(config.activation("hidden_act", GELU), attention_drop=drops(config, "attention_dropout"))
    return (
        Stack(embedding(positions=True)),
        Stack(block, layers(config, default=12.0), mask=everything),
        Stack(final_norm(LAYER_NORM)),
        Stack(pooled(name="text_projection", target="text")),
    )


def picture_stacks(config: Config, tower: Tower, name: str = "block") -> tuple[Stack, ...]:
    """Patches and positions, layers, a last norm, and one vector by attention."""
    activation = config.activation("hidden_act", GELU)
    block = encoder(activation, attention_drop=drops(config, "attention_dropout"), name=name)
    pooler = attention_pooler(LAYER_NORM, activation, target="image")
    return (
        tower.stack(patches(name="patches")),
        tower.stack(block, layers(config, default=12.0)),
        tower.stack(final_norm(LAYER_NORM)),
        *((tower.stack(pooler),) if config.flag("vision_use_head", True) else ()),
    )
