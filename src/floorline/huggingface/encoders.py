"""What the readers of encoders share: which class is built, the layer, the heads on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np

from floorline.block import Block
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.heads import Dense, on_one, on_tokens
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.errors import BadInput
from floorline.huggingface.config import Config
from floorline.masks import causal, everything
from floorline.num import Num, number
from floorline.transformer import Stack, Transformer

LABELS = Dense(name="labels", to="L")
"""As many numbers as there are labels."""
POOLED = Dense(name="pooled", activation="tanh")
"""BERT's pooler, on the first token."""
UNREAD = (
    "_num_labels",
    "directionality",
    "down_scale_factor",
    "gap_size",
    "layers_to_keep",
    "num_memory_blocks",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "summary_type",
)
"""Keys of published configurations that transformers does not read either."""


def built(config: Config, prefixes: tuple[str, ...], default: str, known: Iterable[str]) -> str:
    """What the class in ``architectures`` adds to the family's name: "Model", "ForMaskedLM".

    default  where the configuration names none
    known    those that the family has
    raises   BadInput for a class that is not known
    """
    named = config.get("architectures")
    if not named:
        return default
    name = named[0] if isinstance(named, list) and isinstance(named[0], str) else str(named)
    for prefix in sorted(prefixes, key=len, reverse=True):
        if name.startswith(prefix) and name.removeprefix(prefix) in known:
            return name.removeprefix(prefix)
    classes = ", ".join(f"{prefixes[0]}{kind}" for kind in known)
    raise BadInput(f"{config.name}: architectures names {name[:60]!r}, which is not read; expected one of {classes}")


def labels(config: Config, default: float = 2.0) -> float:
    """How many labels a classifier has.

    >>> labels(Config({"id2label": {"0": "no", "1": "maybe", "2": "yes"}}, "mine"))
    3.0
    """
    named = config.get("id2label")
    count = config.count("num_labels", default)
    return float(len(named)) if isinstance(named, Mapping) else count


@cache
def behind(activation: str, *, drop: bool, attention_drop: bool, cached: bool = False) -> Block:
    """BERT's layer: attention, then a feed-forward network, with biases, each followed by a layer norm of the stream.

    cached  whether it is used as a decoder

    >>> [op.name for op in behind("gelu", drop=False, attention_drop=False).ops][-3:]
    ['down', 'add2', 'norm2']
    """
    attention = Attention(bias=True, out_bias=True, cached=cached, dropout=attention_drop)
    return layer(
        Branch(part=attention, behind=LAYER_NORM, drop=drop),
        Branch(part=FeedForward(activation, bias=True), behind=LAYER_NORM, drop=drop),
    )


def is_decoder(config: Config) -> bool:
    """Whether an encoder's layers are used as a decoder's: each token sees earlier ones only, and they are cached.

    raises BadInput where it is to attend to another encoder
    """
    if config.flag("add_cross_attention", False):
        raise BadInput(
            f"{config.name}: add_cross_attention is true; a decoder of this family on top of another encoder is not read: "
            "set it to false to have the model alone"
        )
    return config.flag("is_decoder", False)


def same(one: Num, other: Num) -> bool:
    """Whether two sizes are equal, array or not.

    raises BadInput where they are at some points of an array and not at others: whether a matmul is there is no number

    >>> same(768.0, 768.0)
    True
    """
    equal = np.asarray(number(one) == number(other))
    if np.any(equal) and not np.all(equal):
        raise BadInput("two widths are equal at some points and differ at others; ask for the one kind or the other")
    return bool(np.all(equal))


def stacked(block: Block, repeat: Num, copies: Num | None = None, *, decoder: bool = False) -> Stack:
    """Layers in which every token sees every other, or as a decoder's those before it."""
    return Stack(block, repeat, copies, mask=causal if decoder else everything)


def classifiers(pooled: Dense, *, on_pooler: bool = True) -> dict[str, tuple[Block, ...]]:
    """The usual heads on labels, by what their class adds to the family's name.

    pooled     what stands between the first token and the labels
    on_pooler  whether choosing among texts has that too
    """
    one = (on_one(pooled, LABELS),)
    each = (on_tokens(LABELS),)
    return {
        "ForSequenceClassification": one,
        "ForMultipleChoice": one if on_pooler else (on_one(POOLED, LABELS),),
        "ForTokenClassification": each,
        "ForQuestionAnswering": each,
    }


def label_sizes(config: Config, kind: str, default: float = 2.0, **own: float) -> dict[str, Num]:
    """L, how many numbers the head of a class makes: one for each label, one alone to choose among texts, or its own.

    default  labels where the configuration says nothing
    own      classes whose head does not follow the labels
    """
    return {"L": {"ForMultipleChoice": 1.0, **own}.get(kind, labels(config, default))}


def ends(blocks: Iterable[Block]) -> tuple[Stack, ...]:
    """Heads as stacks; one that makes logits over the vocabulary does so where they are asked."""
    return tuple(Stack(b, tokens=(("T", "O"),) if b.outputs == ("z",) else ()) for b in blocks)


def encoder(
    config: Config,
    sizes: Mapping[str, Num],
    stacks: Iterable[Stack],
    heads: Iterable[Block],
    *,
    longest: Num | None = None,
    learned: bool = True,
    order: tuple[int, ...] = (),
) -> Transformer:
    """A model that is an encoder alone.

    longest  tokens that it was made for
    learned  whether that is a table of positions, and so a limit
    """
    for key in UNREAD:
        config.get(key)
    return Transformer(
        config.name,
        sizes,
        (*stacks, *ends(heads)),
        max_positions=longest,
        learned_positions=learned and longest is not None,
        order=order,
    )
