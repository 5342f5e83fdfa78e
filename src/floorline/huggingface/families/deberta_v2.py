"""DeBERTa, versions 2 and 3: content and relative positions meet in the scores apart.

Sources: He et al. 2020, arXiv:2006.03654, section 3; He et al. 2021 (version 3), arXiv:2111.09543; fields and defaults:
transformers 5.23, configuration_deberta_v2.py and modeling_deberta_v2.py.
"""

from __future__ import annotations

from floorline.block import Block
from floorline.blocks.disentangled_attention import RELATIVE, DisentangledAttention, convolved, normed, relative_states
from floorline.blocks.embedding import embedding
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.heads import Dense, on_masked, on_one
from floorline.blocks.layer import Branch, layer
from floorline.blocks.norm import LAYER_NORM
from floorline.errors import BadInput
from floorline.huggingface.common import drops, layers, whole_layers
from floorline.huggingface.config import LARGEST, Config, as_whole, divide
from floorline.huggingface.encoder_decoders import first_and_rest
from floorline.huggingface.encoders import LABELS, built, classifiers, encoder, label_sizes, same, stacked
from floorline.num import Num
from floorline.transformer import Stack, Transformer


def read(config: Config) -> Transformer:
    """A ``config.json`` of model_type "deberta-v2"; without ``architectures`` it is the base model.

    >>> small = {"model_type": "deberta-v2", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 10}
    >>> read(Config({**small, "intermediate_size": 16, "position_biased_input": False}, "small")).parameter_count().total
    696.0
    """
    width, heads = config.size("hidden_size", 1536.0), config.size("num_attention_heads", 24.0)
    head = divide(config, width, heads, "hidden_size", "num_attention_heads")
    table = config.size("embedding_size", width)
    must_be(config, "attention_head_size", head)
    must_be(config, "pooler_hidden_size", width)
    known = on_top(config, table, width)
    kind = built(config, ("DebertaV2",), "Model", known)
    positions = config.size("max_position_embeddings", 512.0)
    sizes = {
        "D": width,
        "K": heads,
        "G": 1.0,
        "H": head,
        "F": config.size("intermediate_size", 6144.0),
        "V": config.size("vocab_size", 128100.0),
        "N": table,
        "P": positions,
        "Y": config.count("type_vocab_size"),
        "R": span(config, positions),
        **label_sizes(config, kind),
    }
    learned = config.flag("position_biased_input", True)
    stacks = *start(config, learned, not same(table, width)), *middle(config)
    return encoder(config, sizes, stacks, known[kind], longest=positions, learned=learned)


def must_be(config: Config, key: str, expected: Num) -> None:
    """Two keys for one size must agree: this family's matmuls fit together only then."""
    if config.given(key) is not None and not same(config.size(key), expected):
        raise BadInput(f"{config.name}: {key} is {config.get(key)}; expected {expected:g}, to which its matmuls fit")


def whole_number(config: Config, key: str) -> float:
    """A whole number where −1 stands for none."""
    value = config.get(key)
    if value is None:
        return -1.0
    found = as_whole(value, -LARGEST["size"])
    if found is None:
        raise BadInput(f"{config.name}: {key} is {str(value)[:40]!r}; expected a whole number, -1 for none")
    return found


def span(config: Config, positions: Num) -> Num:
    """R, relative positions to both sides: buckets, else as many as there are positions."""
    buckets, most = whole_number(config, "position_buckets"), whole_number(config, "max_relative_positions")
    return 2.0 * (buckets if buckets > 0.0 else most if most >= 1.0 else positions)


def start(config: Config, learned: bool, projected: bool) -> tuple[Stack, ...]:
    """The token table with what is added to its rows, and the states of relative positions."""
    drop, types = drops(config, "hidden_dropout_prob", 0.1), config.count("type_vocab_size") > 0.0
    relative = config.flag("relative_attention", False)
    norms = config.text("norm_rel_ebd", "none").lower().split("|")
    states = relative_states(LAYER_NORM if "layer_norm" in [x.strip() for x in norms] else None, relative)
    table = (
        (embedding(positions=learned, types=types, projected="N"), normed(drop))
        if projected
        else (embedding(positions=learned, types=types, norm=LAYER_NORM, drop=drop),)
    )
    return tuple(Stack(b) for b in (*table, *((states,) if states.ops else ())))


def middle(config: Config) -> tuple[Stack, ...]:
    """The layers; some models have a convolution of the embedded tokens join the first one's output."""
    drop, relative = drops(config, "hidden_dropout_prob", 0.1), config.flag("relative_attention", False)
    attention = DisentangledAttention(
        relative=relative,
        shared=config.flag("share_att_key", False),
        dropout=drops(config, "attention_probs_dropout_prob", 0.1),
        **dict.fromkeys((x for x in parts(config) if x in ("c2p", "p2c")), True),
    )
    block = layer(
        Branch(part=attention, behind=LAYER_NORM, drop=drop),
        Branch(part=FeedForward(config.activation("hidden_act", "gelu"), bias=True), behind=LAYER_NORM, drop=drop),
        inputs=RELATIVE if relative else "",
    )
    window = config.count("conv_kernel_size")
    if not window:
        return (stacked(block, layers(config, default=24.0)),)
    beside = convolved(config.activation("conv_act", "tanh"), drop=drop)
    channels = {"j": window, "g": config.size("hidden_size", 1536.0) / config.size("conv_groups", 1.0)}
    first, *rest = first_and_rest(stacked(block, 1.0), stacked(block, 1.0), whole_layers(config, default=24.0))
    return first, Stack(beside, sizes=channels), *rest


def parts(config: Config) -> list[str]:
    """Which parts the scores have besides content with content."""
    given = config.get("pos_att_type")
    if isinstance(given, str):
        return [x.strip() for x in given.lower().split("|")]
    if given is not None and not isinstance(given, list):
        raise BadInput(f"{config.name}: pos_att_type is {str(given)[:40]!r}; expected a list such as ['c2p', 'p2c']")
    return [str(x) for x in given or ()]


def on_top(config: Config, table: Num, width: Num) -> dict[str, tuple[Block, ...]]:
    """Heads by class; the newer head for masked tokens is always tied."""
    legacy, tied = config.flag("legacy", True), config.flag("tie_word_embeddings", True)
    narrow = "Q" if same(table, width) else "N"
    transform = Dense(name="transform", to=narrow, activation=config.activation("hidden_act", "gelu"), norm=LAYER_NORM)
    masked = on_masked(transform, tied=tied or not legacy, spare=legacy and not tied)
    pooled = Dense(name="pooled", activation=config.activation("pooler_hidden_act", "gelu"))
    return {
        "Model": (),
        "ForMaskedLM": (masked,),
        **classifiers(pooled),
        "ForMultipleChoice": (on_one(pooled, LABELS),),
    }
