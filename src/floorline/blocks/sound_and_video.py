"""Layers of two streams, a video and its sound: each attends to itself, to a text, and to the other.

Letters of the sound's stream, beside those of the video's: ``N`` tokens, ``L`` keys, ``d`` width, ``p`` heads of width ``q``,
``b`` width of the feed-forward network, ``z`` width of the text, ``m`` vectors of its modulation; of both: ``r`` vectors that
modulate what one stream shows the other, four, ``a`` those that modulate the text, two.

Sources: HaCohen et al. 2026 (LTX-2), arXiv:2601.03233; diffusers 0.42, models/transformers/transformer_ltx2.py,
LTX2VideoTransformerBlock.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import gated, modulated, shared_modulation
from floorline.blocks.attention import Attention, HeadNorm
from floorline.blocks.cross_attention import CrossAttention
from floorline.blocks.feed_forward import FeedForward
from floorline.blocks.norm import RMS_NORM, Norm
from floorline.blocks.streams import relettered
from floorline.op import Op, contraction, elementwise

ALL_HEADS = HeadNorm(RMS_NORM, scale="KGH", over="KGH")
SOUND = {"T": "N", "S": "L", "D": "d", "K": "p", "H": "q", "F": "b", "e": "z", "n": "m", "v": "y", "u": "X"}
"""From the video's stream to the sound's."""
TO_VIDEO = {"K": "p", "H": "q", "M": "N", "e": "d"}
TO_SOUND = {"T": "N", "D": "d", "K": "p", "H": "q", "M": "T", "e": "D"}
"""From an attention over a text to one over the other stream; it has the sound's heads either way."""
TOLD, TIMED, FIXED = "", "timed", "fixed"
"""How a text is modulated: not at all, by the time and a table, by a table alone."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a layer does to one of its streams.

    name       prefix of names: "" the video's, "a" the sound's
    norm       before each branch
    bias       of queries, keys and values
    out_bias   of the output projections
    gate       whether each head's result is scaled by a number for each token
    text_norm  whether the norm before the text is modulated, and its branch gated
    ffn        the feed-forward network

    >>> Side(norm=RMS_NORM, ffn=FeedForward("gelu")).mod
    'mod[BnD]'
    """

    name: str = ""
    norm: Norm
    bias: bool = True
    out_bias: bool = True
    gate: bool = False
    text_norm: bool = False
    ffn: FeedForward

    @property
    def mod(self) -> str:
        """The tensor that modulates its branches."""
        return f"{self.name}mod[BnD]"

    def alone(self) -> tuple[Op, ...]:
        """Self-attention, in the video's letters."""
        n = self.name
        attention = Attention(
            bias=self.bias, out_bias=self.out_bias, rotary=True, head_norm=ALL_HEADS, cached=False, name=n
        )
        return (
            *shared_modulation(f"{n}mod", f"{n}all", f"{n}mod"),
            modulated(self.norm, self.mod).op(f"{n}norm1", f"{n}x", f"{n}h"),
            *self.gated_heads(attention.ops(f"{n}h", f"{n}attn"), n, f"{n}h"),
            gated(f"{n}add1", f"{n}x", f"{n}attn", f"{n}x1", self.mod),
        )

    def text(self, modulation: str) -> tuple[Op, ...]:
        """Cross-attention to the text, in the video's letters."""
        n, told = self.name, f"{self.name}told" if modulation else f"{self.name}memory"
        tell = f"{n}pmod[BaD]" if modulation == TIMED else f"W{n}pmod[aD]"
        cross = self.cross(f"{n}x").ops(f"{n}h2", f"{n}cross")
        return (
            *(shared_modulation(f"{n}pmod", f"{n}pall", f"{n}pmod", "aD") if modulation == TIMED else ()),
            *((elementwise(f"{n}tell", f"{n}memory[BMe] {tell} -> {told}[BMe]", "modulate"),) if modulation else ()),
            (modulated(self.norm, self.mod) if self.text_norm else self.norm).op(f"{n}norm2", f"{n}x1", f"{n}h2"),
            *(op.renamed({"memory": told}) for op in self.gated_heads(cross, f"{n}x", f"{n}h2")),
            gated(f"{n}add2", f"{n}x1", f"{n}cross", f"{n}x2", self.mod if self.text_norm else ""),
        )

    def feed(self) -> tuple[Op, ...]:
        """The feed-forward network, in the video's letters."""
        n = self.name
        return (
            modulated(self.norm, self.mod).op(f"{n}norm3", f"{n}x3", f"{n}h3"),
            *self.ffn.ops(f"{n}h3", f"{n}ffn"),
            gated(f"{n}add3", f"{n}x3", f"{n}ffn", f"{n}y", self.mod),
        )

    def cross(self, name: str, rotary: bool = False) -> CrossAttention:
        """Attention over a text, or over the other stream."""
        return CrossAttention(
            bias=self.bias,
            out_bias=self.out_bias,
            cached=False,
            width="e",
            head_norm=ALL_HEADS,
            rotary=rotary,
            name=name,
        )

    def gated_heads(self, ops: tuple[Op, ...], name: str, source: str) -> tuple[Op, ...]:
        """An attention whose heads are scaled, where they are.

        name    prefix of the attention's names
        source  what its queries are made of
        """
        if not self.gate:
            return ops
        context = f"{name}ctx"
        scale = f"{context}[BTKGH] {name}hg[BTKG] -> {context}g[BTKGH]"
        return (
            contraction(f"{name}head_gate", f"{source}[BTD] W{name}hg[DKG] -> {name}hg[BTKG]", bias=True),
            *ops[:-1],
            elementwise(f"{name}head_scale", scale, "gated_sigmoid"),
            ops[-1].renamed({context: f"{context}g"}),
        )

    def shown(self) -> tuple[Op, ...]:
        """The norm before the streams see each other, and its two modulations, in the video's letters."""
        n = self.name
        rows = f"{n}seen[BTD] {n}rmod[BrD]"
        return (
            self.norm.op(f"{n}norm4", f"{n}x2", f"{n}seen"),
            *shared_modulation(f"{n}rmod", f"{n}rall", f"{n}rmod", "rD"),
            elementwise(f"{n}door", f"{n}gall[BD] W{n}door[D] -> {n}door[BD]", "add_table"),
            elementwise(f"{n}ask", f"{rows} -> {n}asks[BTD]", "modulate"),
            elementwise(f"{n}show", f"{rows} -> {n}shows[BTD]", "modulate"),
        )

    def look(self, other: str, name: str) -> tuple[Op, ...]:
        """Attention over the other stream, in the video's letters; positions in time are turned into queries and keys.

        other  prefix of the other stream's names
        name   prefix of this attention's names
        """
        n = self.name
        turn = elementwise(f"{name}rope_k", f"{name}kn[BMKH] -> {name}kr[BMKH]", "rope", kernel=f"{name}rope")
        ops: list[Op] = []
        for op in self.cross(name, rotary=True).ops(f"{n}asks", f"{n}look"):
            seen = op.renamed(
                {"memory": f"{other}shows", f"{name}kn": f"{name}kr"} if op.name != f"{name}norm_k" else {}
            )
            ops += [turn, seen] if op.name == f"{name}see_k" else [seen]
        return self.gated_heads(tuple(ops), name, f"{n}asks")


@cache
def sound_and_video(video: Side, sound: Side, modulation: str = TOLD, read: bool = False) -> Block:
    """The layer.

    modulation  of the text
    read        whether it reads the texts as their encoder left them, which takes no gradient

    >>> video, sound = (Side(name=n, norm=RMS_NORM, ffn=FeedForward("gelu", name=n)) for n in ("", "a"))
    >>> two = sound_and_video(video, sound)
    >>> two.outputs, len({t.name for t in two.weights()}) == len(two.weights())
    (('y', 'ay'), True)
    """
    ops = (
        *video.alone(),
        *relettered(sound.alone(), SOUND),
        *video.text(modulation),
        *relettered(sound.text(modulation), SOUND),
        *video.shown(),
        *relettered(sound.shown(), SOUND),
        *relettered(video.look("a", "tv"), TO_VIDEO),
        gated("add4", "x2", "look", "x3", "door[BD]"),
        *relettered(sound.look("", "ta"), TO_SOUND),
        *relettered((gated("aadd4", "ax2", "alook", "ax3", "adoor[BD]"),), SOUND),
        *video.feed(),
        *relettered(sound.feed(), SOUND),
    )
    given = "x[BTD] all[BnD] rall[BrD] gall[BD] ax[BNd] aall[Bmd] arall[Brd] agall[Bd]"
    given += " pall[BaD] apall[Bad]" if modulation == TIMED else ""
    texts = "memory[BMe] amemory[BMz]"
    data = texts if read else ""
    return block("block", given if read else f"{given} {texts}", ops, "y ay", layer=True, data=data)
