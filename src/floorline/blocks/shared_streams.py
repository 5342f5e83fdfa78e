"""Text and picture as one sequence through the same weights, each with norms and gates that are modulated by vectors of its own.

Letters: T tokens of the picture, M of the text, W = T + M as queries, S as keys; ``a`` streams, two: picture and text; ``n``
vectors that modulate each; ``v`` width of what conditions.

Sources: Yang et al. 2024 (CogVideoX), arXiv:2408.06072, section 2.2, "expert transformer"; Zheng et al. 2024 (CogView3),
arXiv:2403.05121; diffusers 0.42, models/transformers/cogvideox_transformer_3d.py, CogVideoXBlock, and
models/attention_processor.py, CogVideoXAttnProcessor2_0.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, modulation
from floorline.blocks.attention import Attention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import PLAIN_NORM, Norm
from floorline.blocks.streams import BOTH, TEXT, relettered
from floorline.op import Op, elementwise, view


def joined(name: str, picture: str, text: str, target: str) -> Op:
    """Both streams as one sequence.

    >>> str(joined("join", "h", "ch", "jh").outputs[0])
    'jh[BWD]'
    """
    return view(name, f"{picture}[BTD] {text}[BMD] -> {target}[BWD]")


def parted(name: str, source: str, picture: str, text: str) -> tuple[Op, ...]:
    """One sequence as both streams again."""
    return (
        view(f"{name}_picture", f"{source}[BWD] -> {picture}[BTD]"),
        view(f"{name}_text", f"{source}[BWD] -> {text}[BMD]"),
    )


def rotated(query: str, key: str) -> tuple[Op, ...]:
    """Positions turned into queries and keys of the picture; those of the text stay as they are."""
    return (
        view("picture_q", f"{query}[BWKGH] -> pq[BTKGH]"),
        view("picture_k", f"{key}[BWKH] -> pk[BTKH]"),
        view("text_q", f"{query}[BWKGH] -> tq[BMKGH]"),
        view("text_k", f"{key}[BWKH] -> tk[BMKH]"),
        elementwise("rope_q", "pq[BTKGH] -> pqr[BTKGH]", "rope", kernel="rope"),
        elementwise("rope_k", "pk[BTKH] -> pkr[BTKH]", "rope", kernel="rope"),
        view("turned_q", "pqr[BTKGH] tq[BMKGH] -> jqr[BWKGH]"),
        view("turned_k", "pkr[BTKH] tk[BMKH] -> jkr[BWKH]"),
    )


def shared_attention(
    attention: Attention, source: str, target: str, text_source: str, text_target: str
) -> tuple[Op, ...]:
    """Attention of both streams to both, with one set of weights.

    attention  where it is rotary, the picture alone is

    >>> ops = shared_attention(Attention(cached=False, rotary=True), "h", "attn", "ch", "cattn")
    >>> [op.name for op in ops if op.flops()]
    ['q', 'k', 'v', 'scores', 'values', 'out']
    """
    plain = Attention(
        bias=attention.bias, out_bias=attention.out_bias, head_norm=attention.head_norm, cached=attention.cached
    )
    made, query, key, value = plain.queries_and_keys()
    whole = relettered((*plain.projections("jh"), *made), BOTH)
    turned = rotated(query, key) if attention.rotary else ()
    query, key = ("jqr", "jkr") if attention.rotary else (query, key)
    out = plain.ops("jh", "joint")[-1]
    core = relettered((*plain.keep(key, value, ""), *plain.core(query), out), BOTH)
    return (
        joined("join", source, text_source, "jh"),
        *whole,
        *turned,
        *core,
        *parted("part", "joint", target, text_target),
    )


def shared_feed_forward(
    ffn: FeedForward, source: str, target: str, text_source: str, text_target: str, *, apart: bool = False
) -> tuple[Op, ...]:
    """A feed-forward network of both streams, with one set of weights.

    apart  whether it runs on each by itself

    >>> ops = shared_feed_forward(FeedForward("gelu"), "h", "ffn", "ch", "cffn", apart=True)
    >>> [op.weights[0].name for op in ops if op.weights]
    ['Wup', 'Wdown', 'Wup', 'Wdown']
    """
    if apart:
        again = FeedForward(ffn.activation, ffn.gated, ffn.bias, ffn.down_bias, ffn.width, "c")
        text = relettered(again.ops(text_source, text_target), TEXT)
        names = {f"Wc{part}{tail}": f"W{part}{tail}" for part in ("gate", "up", "down") for tail in ("", ".bias")}
        return (*ffn.ops(source, target), *(op.renamed(names) for op in text))
    return (
        joined("join2", source, text_source, "jh2"),
        *relettered(ffn.ops("jh2", "joint2"), BOTH),
        *parted("part2", "joint2", target, text_target),
    )


def both_modulated(name: str, act: str) -> tuple[Op, ...]:
    """Vectors of both streams from one matmul."""
    return (
        *modulation(f"both{name}", "vec", f"both{name}", letters="anD", act=act),
        view(f"mod{name}", f"both{name}[BanD] -> mod{name}[BnD]"),
        view(f"cmod{name}", f"both{name}[BanD] -> cmod{name}[BnD]"),
    )


def both_normed(norm: Norm, number: str, picture: str, text: str, name: str) -> tuple[Op, ...]:
    """Both streams through one norm, each modulated by its own vectors."""
    weights = {f"Wcnorm{number}{tail}": f"Wnorm{number}{tail}" for tail in ("", ".bias")}
    return (
        modulated(norm, f"mod{name}[BnD]").op(f"norm{number}", picture, f"h{number}"),
        modulated(norm, f"cmod{name}[BnD]").op(f"cnorm{number}", text, f"ch{number}", "BMD").renamed(weights),
    )


@cache
def shared_layer(
    attention: Attention,
    ffn: FeedForward,
    *,
    norm: Norm = PLAIN_NORM,
    each: bool = False,
    act: str = "silu",
    apart: bool = False,
    read: bool = True,
    name: str = "block",
) -> Block:
    """Attention and a feed-forward network, the same for both streams, between modulated norms and gates of each.

    each   whether each norm has a modulation of its own (n = 3), or one serves both (n = 6)
    act    before the modulation's matmul; "" for none
    apart  whether the feed-forward network runs on each stream by itself
    read   whether somebody reads the text afterwards; in a last layer it may be computed for nothing

    >>> one = shared_layer(Attention(cached=False), FeedForward("gelu"))
    >>> one.outputs, [t.name for t in one.inputs]
    (('y', 'z'), ['x', 'c', 'vec'])
    """
    first, second = ("1", "2") if each else ("", "")
    ops = (
        *both_modulated(first, act),
        *both_normed(norm, "1", "x", "c", first),
        *shared_attention(attention, "h1", "attn", "ch1", "cattn"),
        gated("add1", "x", "attn", "x1", f"mod{first}[BnD]"),
        gated("cadd1", "c", "cattn", "c1", f"cmod{first}[BnD]", "BMD"),
        *(both_modulated(second, act) if each else ()),
        *both_normed(norm, "2", "x1", "c1", second),
        *shared_feed_forward(ffn, "h2", "ffn", "ch2", "cffn", apart=apart),
        gated("add2", "x1", "ffn", "y", f"mod{second}[BnD]"),
        gated("cadd2", "c1", "cffn", "z", f"cmod{second}[BnD]", "BMD"),
    )
    return block(name, "x[BTD] c[BMD] vec[Bv]", ops, "y z" if read else "y", layer=True)
