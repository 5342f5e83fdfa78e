"""CLIP: a text tower and a picture tower, each projected to one vector that is compared with all of the other kind; or one
of the two alone.

Source: Radford et al. 2021, arXiv:2103.00020, section 2.4; fields and what is meant where one is left out: transformers 5.23,
models/clip.
"""

from __future__ import annotations

from floorline.blocks.embedding import embedding, final_norm
from floorline.blocks.norm import LAYER_NORM
from floorline.blocks.vision import contrast, patches, pooled
from floorline.huggingface.common import drops, layers
from floorline.huggingface.config import Config
from floorline.huggingface.vision import Tower, architecture, encoder, finish, labels, part, picture, widths
from floorline.num import Num
from floorline.transformer import Stack, Transformer

DEFAULTS = {"clip": "CLIPModel", "clip_text_model": "CLIPTextModel", "clip_vision_model": "CLIPVisionModel"}
"""model_type → the class that is meant where the configuration names none."""
PROJECTION = 512.0


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "clip", "clip_text_model" or "clip_vision_model"; its architecture says which towers.

    >>> read(Config({"model_type": "clip"}, "clip-vit-base-patch32")).parameter_count().total
    151277313.0
    """
    model_type = config.text("model_type", "clip")
    kind = architecture(config, DEFAULTS[model_type])
    if "TextModel" in kind:
        return text_alone(config if model_type == "clip_text_model" else side(config, "text_config"), kind)
    projection(config)
    if kind != "CLIPModel":
        classes = labels(config) if kind.endswith("ImageClassification") else 0.0
        own = config if model_type == "clip_vision_model" else side(config, "vision_config")
        return pictures_alone(own, kind, classes)
    text, pictures, width = side(config, "text_config"), side(config, "vision_config"), {"p": projection(config)}
    sizes = {**text_sizes(text), **width}
    tower = Tower(sizes={**picture_sizes(pictures), **width})
    stacks = (
        *text_stacks(text, embeds=False),
        Stack(pooled(bias=False, name="text_projection", target="text")),
        *picture_stacks(pictures, tower, "vision"),
        tower.stack(pooled(norm=LAYER_NORM, bias=False, name="vision_projection", target="image")),
        Stack(contrast(), sizes=width),
    )
    made = Transformer(config.name, sizes, stacks, max_positions=sizes["P"], learned_positions=True)
    return finish(made, text, pictures)


def text_alone(config: Config, kind: str) -> Transformer:
    """The text tower, with its projection or without."""
    sizes = {**text_sizes(config), "p": projection(config)}
    last = (Stack(pooled(bias=False, name="text_projection")),) if kind.endswith("WithProjection") else ()
    stacks = (*text_stacks(config), *last)
    return finish(Transformer(config.name, sizes, stacks, max_positions=sizes["P"], learned_positions=True), config)


def pictures_alone(config: Config, kind: str, classes: float) -> Transformer:
    """The picture tower, with a projection, a classifier or neither."""
    sizes = {**picture_sizes(config), "p": projection(config), "L": classes}
    tower = Tower(sizes=sizes, own=False)
    projected = kind.endswith("WithProjection")
    last = pooled(norm=LAYER_NORM, projected="p" if projected else "", bias=False, name="vision_projection")
    classifier = (tower.stack(pooled(projected="L", name="classifier")),) if classes else ()
    stacks = (*picture_stacks(config, tower), tower.stack(last), *classifier)
    return finish(Transformer(config.name, sizes, stacks), config)


def text_sizes(config: Config) -> dict[str, Num]:
    """Letters of the text tower."""
    sizes = widths(config, width=512.0, heads=8.0, inner=2048.0)
    table = {"V": config.size("vocab_size", 49408.0), "P": config.size("max_position_embeddings", 77.0)}
    return {**sizes, **table, "d": sizes["D"]}


def picture_sizes(config: Config) -> dict[str, Num]:
    """Letters of the picture tower."""
    sizes = widths(config, width=768.0, heads=12.0, inner=3072.0)
    return {**sizes, **picture(config, image=224.0, patch=32.0, extra=1.0), "d": sizes["D"]}


def text_stacks(config: Config, *, embeds: bool = True) -> tuple[Stack, ...]:
    """Tokens and positions, layers that see what came before, a last norm.

    embeds  whether parameter counts call the token table an embedding; transformers names none of the whole model
    """
    drop = drops(config, "attention_dropout")
    block = encoder(config.activation("hidden_act", "quick_gelu"), attention_drop=drop)
    start = Stack(embedding(positions=True, embeds=embeds))
    return start, Stack(block, layers(config, default=12.0)), Stack(final_norm(LAYER_NORM))


def picture_stacks(config: Config, tower: Tower, name: str = "block") -> tuple[Stack, ...]:
    """Patches, a class token and positions, a norm, layers."""
    drop = drops(config, "attention_dropout")
    block = encoder(config.activation("hidden_act", "quick_gelu"), attention_drop=drop, name=name)
    start = patches(bias=False, extra=("Wclass[D]",), norm=LAYER_NORM, name="patches")
    return tower.stack(start), tower.stack(block, layers(config, default=12.0))


def projection(config: Config) -> Num:
    """The width of the vectors that are compared."""
    return config.size("projection_dim", PROJECTION)


def side(config: Config, key: str) -> Config:
    """The configuration of a tower; an older ``text_config_dict`` beside ``text_config`` replaces it."""
    older = f"{key}_dict"
    return part(config, older if config.get(older) is not None else key)
