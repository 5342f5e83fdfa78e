"""Multi-token prediction: heads that guess the token after the next one, in training or to speed decoding up.

A module joins the last layer's states with the embedding of the next token (two norms, one matmul from twice the width),
runs one more layer like the last one, and reads the main model's head after a norm of its own. Configurations announce
such modules; checkpoints hold them; a forward pass of the model alone does not run them, so they are not counted unless
they are asked for.

Source: DeepSeek-V3, arXiv:2412.19437, section 2.2, eqs. 21 to 23; README_WEIGHTS.md of deepseek-ai/DeepSeek-V3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from floorline.block import Block, block
from floorline.blocks.norm import RMS_NORM
from floorline.errors import BadInput
from floorline.op import contraction, elementwise, lookup, view
from floorline.transformer import Stack, Transformer

KEYS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
"""Keys that say how many modules there are."""


def with_prediction_heads(model: Transformer) -> Transformer:
    """The model with the multi-token-prediction modules that its configuration announces.

    raises BadInput where it announces none

    >>> from floorline.catalogue.load import load_model
    >>> whole = with_prediction_heads(load_model("deepseek-v3"))
    >>> round((whole.parameter_count().total - load_model("deepseek-v3").parameter_count().total) / 1e9, 1)
    11.6
    """
    count = announced(model.config)
    if not count:
        raise BadInput(f"{model.name} has no multi-token-prediction heads; expected one of the keys {', '.join(KEYS)}")
    last, end = model.last_layer, model.stacks[-1]
    assert last is not None
    shared = replace(end, block=with_shared_table(end.block))
    tail = replace(shared, block=own_norm(shared.block))
    added = (Stack(join(), count), replace(last, repeat=count, copies=None), replace(tail, repeat=count))
    order = model.order or (0,)
    sizes = {**model.sizes, "d": model.sizes["D"]}
    return replace(model, stacks=(*model.stacks[:-1], shared, *added), sizes=sizes, order=order, mtp=True)


def announced(config: Mapping[str, object]) -> float:
    """How many modules a configuration announces, in itself or in its text part."""
    inner = config.get("text_config")
    parts = (config, inner) if isinstance(inner, Mapping) else (config,)
    found = [part.get(key) for part in parts for key in KEYS]
    return float(next((x for x in found if isinstance(x, int) and x > 0), 0))


@cache
def join() -> Block:
    """States and the next token's embedding, side by side, to the width again: two halves of one matmul."""
    ops = (
        lookup("tokens", "token_ids[BT] /We[VD] -> e[BTD]", "V", "min(B*T/V, 1)"),
        RMS_NORM.op("norm_embedding", "e", "en"),
        RMS_NORM.op("norm_states", "x", "xn"),
        contraction("join_embedding", "en[BTD] Wje[Dd] -> je[BTd]", kernel="join"),
        contraction("join_states", "xn[BTD] Wjx[Dd] -> jx[BTd]", kernel="join"),
        elementwise("join", "je[BTd] jx[BTd] -> j[BTd]", "add", linear=True),
        view("width", "j[BTd] -> y[BTD]"),
    )
    return block("mtp_join", "x[BTD] token_ids[BT]", ops, "y")


@cache
def with_shared_table(head: Block) -> Block:
    """The head with its table made the whole model's, so that other heads may read it."""
    ops = tuple(
        replace(op, inputs=tuple(replace(t, name="/Wu") if t.name == "Wu" else t for t in op.inputs)) for op in head.ops
    )
    return replace(head, ops=ops)


@cache
def own_norm(head: Block) -> Block:
    """A head like the main one: the table is shared, the norm its own."""
    return replace(head, name="mtp_head")
