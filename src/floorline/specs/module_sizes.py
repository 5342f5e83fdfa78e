"""Sizes of the parts of a transformer over a video's tokens: frames of height × width, beside a text. No formulas."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.errors import BadInput
from floorline.num import Num, all_true, floor
from floorline.specs.fields import TOKENS, check, choice, sequences, spec

HEAD = 64.0
"""The usual width of a head."""
SIDE = 1e6
"""The most tokens along a side."""


@dataclass(frozen=True, kw_only=True)
class ModuleSizes:
    """What a part is counted for; numbers may be arrays.

    raises BadInput for heads that do not divide the width

    >>> ModuleSizes(hidden_size=1536).heads, ModuleSizes(hidden_size=1536).inner
    (24.0, 6144.0)
    """

    hidden_size: Num = spec("model width, D", aliases=("--hidden-size", "--dim", "--d-model"), default=1536)
    num_heads: Num | None = spec(
        "attention heads; left out: as many as are 64 wide",
        aliases=("--num-heads", "--heads", "--num-attention-heads"),
        default=None,
    )
    num_kv_heads: Num | None = spec(
        "key/value heads; left out: as many as heads",
        aliases=("--num-kv-heads", "--kv-heads", "--num-key-value-heads"),
        default=None,
    )
    intermediate_size: Num | None = spec(
        "inner width of the feed-forward; left out: four times the model's",
        aliases=("--intermediate-size", "--ffn-size", "--mid-size"),
        default=None,
    )
    out_size: Num | None = spec(
        "width of the feed-forward's result; left out: the model's", aliases=("--out-size",), default=None
    )
    gated: str = choice("three matmuls in the feed-forward instead of two", ("no", "yes"), "no")
    batch: Num = sequences()
    frames: Num = spec("tokens along time", default=16, most=SIDE)
    height: Num = spec("tokens along the height", default=32, most=SIDE)
    width: Num = spec("tokens along the width", default=32, most=SIDE)
    text_tokens: Num = spec(
        "tokens of the text that cross-attention reads",
        aliases=("--text-tokens", "--context-len"),
        default=300,
        most=TOKENS,
    )
    text_width: Num = spec(
        "width of those", aliases=("--text-width", "--context-width", "--cross-attention-dim"), default=4096
    )
    window_frames: Num = spec("tokens of a window along time", default=1, most=SIDE)
    window_height: Num = spec("tokens of a window along the height", default=8, most=SIDE)
    window_width: Num = spec("tokens of a window along the width", default=8, most=SIDE)

    def __post_init__(self) -> None:
        check(self)
        if not whole(self.heads):
            raise BadInput(f"heads of {HEAD:g} do not divide hidden_size = {one(self.hidden_size)}; give num_heads")
        for name, value, of, size in (
            ("num_heads", self.heads, "hidden_size", self.hidden_size),
            ("num_kv_heads", self.kv_heads, "num_heads", self.heads),
        ):
            if not whole(size / value):
                raise BadInput(f"{name} = {one(value)} does not divide {of} = {one(size)}; expected a divisor of it")

    @property
    def heads(self) -> Num:
        """Query heads, N = K·G."""
        return self.hidden_size / HEAD if self.num_heads is None else self.num_heads

    @property
    def kv_heads(self) -> Num:
        """Key/value heads, K."""
        return self.heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def group(self) -> Num:
        """Query heads for each key/value head, G."""
        return self.heads / self.kv_heads

    @property
    def head_dim(self) -> Num:
        """Width of a head, H."""
        return self.hidden_size / self.heads

    @property
    def inner(self) -> Num:
        """Inner width of the feed-forward, F."""
        return 4.0 * self.hidden_size if self.intermediate_size is None else self.intermediate_size

    @property
    def out(self) -> Num:
        """Width of the feed-forward's result."""
        return self.hidden_size if self.out_size is None else self.out_size

    @property
    def positions(self) -> Num:
        """Tokens of a frame."""
        return self.height * self.width

    @property
    def tokens(self) -> Num:
        """All tokens of a video."""
        return self.frames * self.positions


def whole(value: Num) -> bool:
    """Whether all of some numbers are whole."""
    return all_true(value == floor(value))


def one(value: Num) -> str:
    """A number, or the first of several, for an error's text."""
    return f"{value if isinstance(value, float) else value.flat[0]:g}"
