"""FLOP and memory traffic of the parts of a transformer over a video's tokens, part by part and launch by launch.

Each part is a block, counted as blocks of whole models are; what a launch reads, the weights among it, and what it writes are kept
apart. Layer norms, residual sums and modulation are no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from floorline import program
from floorline.block import Block
from floorline.blocks import parts
from floorline.closed_forms import Rule, closed_form, rule
from floorline.denoise_step import grid
from floorline.errors import BadInput, near
from floorline.formulas.roofline import arithmetic_intensity
from floorline.implementations import implementation
from floorline.letters import Numbers, Product
from floorline.num import Num, all_true, ceil, number, total
from floorline.op import Contraction
from floorline.parallel.plan import Plan
from floorline.program import Piece, Row
from floorline.result import Result
from floorline.specs.module_sizes import ModuleSizes
from floorline.specs.precision import Precision
from floorline.specs.workload import Denoise
from floorline.transformer import Transformer


@dataclass(frozen=True)
class Traffic(Result):
    """What one launch, or several, do.

    name     of the operators
    formula  FLOP in letters
    flops    [FLOP]
    inputs   elements read that are no weights [-]
    weights  elements of weights read [-]
    written  elements of results [-]
    bytes    of all three [B]
    """

    name: str
    formula: str
    flops: Num
    inputs: Num
    weights: Num
    written: Num
    bytes: Num

    @property
    def elements(self) -> Num:
        """All that moves [-]."""
        return self.inputs + self.weights + self.written

    @property
    def intensity(self) -> Num:
        """Arithmetic for each byte moved [FLOP/B]."""
        return arithmetic_intensity(self.flops, self.bytes)

    def answer(self) -> Mapping[str, Any]:
        """The amounts and what follows from them."""
        read = {"inputs": self.inputs, "weights": self.weights, "written": self.written, "elements": self.elements}
        head = {"name": self.name, "formula": self.formula, "flops": self.flops}
        return {**head, **read, "bytes": self.bytes, "flops_per_byte": self.intensity}


@dataclass(frozen=True)
class ModuleCount(Result):
    """A part.

    whole       all of its launches
    core        FLOP of what is no projection: scores and values, or a linear attention's state [FLOP]
    core_formula  the same in letters
    elements    inputs, weights and results in letters
    launches    each by itself
    """

    whole: Traffic
    core: Num
    core_formula: str
    elements: Mapping[str, str]
    launches: tuple[Traffic, ...]

    @property
    def name(self) -> str:
        """Of the part."""
        return self.whole.name

    def answer(self) -> Mapping[str, Any]:
        """The amounts, with each launch's."""
        head = {**self.whole.answer(), "core_flops": self.core, "core_formula": self.core_formula}
        return {**head, "elements_formula": self.elements, "launches": self.launches}


@dataclass(frozen=True)
class Module:
    """A part as it is counted.

    block    its operators
    letters  sizes of the letters for tokens
    names    what letters are called in a closed form
    grows    letters that grow with the frames of a video
    filled   what letters are called where it computes more tokens than there are
    """

    block: Callable[[ModuleSizes], Block]
    letters: Callable[[ModuleSizes], Mapping[str, Num]]
    names: tuple[Rule, ...]
    grows: str
    filled: tuple[Rule, ...] = ()


def everything(z: ModuleSizes) -> dict[str, Num]:
    """All tokens are one sequence."""
    return {"T": z.tokens, "S": z.tokens}


def in_space(z: ModuleSizes) -> dict[str, Num]:
    """Each frame is a sequence."""
    return {parts.FRAMES: z.frames, "T": z.positions, "S": z.positions}


def in_time(z: ModuleSizes) -> dict[str, Num]:
    """Each position is a sequence, along the frames."""
    return {parts.POSITIONS: z.positions, "T": z.frames, "S": z.frames}


def in_windows(z: ModuleSizes) -> dict[str, Num]:
    """Each window is a sequence; sides that windows do not divide are filled up."""
    sides = ((z.frames, z.window_frames), (z.height, z.window_height), (z.width, z.window_width))
    count: Num = 1.0
    for tokens, window in sides:
        count = count * number(ceil(tokens / window))
    inside = z.window_frames * z.window_height * z.window_width
    return {parts.WINDOWS: count, "T": inside, "S": inside}


ALL = (rule("T", "s"), rule("S", "s"))
SPACE = (rule("aT", "s"), rule("aS", "s"), rule("T", "p"), rule("S", "p"))
TIME = (rule("pT", "s"), rule("pS", "s"), rule("T", "f"), rule("S", "f"))
WINDOW = (rule("wT", "s"), rule("wS", "s"), rule("T", "u"), rule("S", "u"))
FILLED = (rule("wT", "s'"), rule("wS", "s'"), *WINDOW[2:])
"""The same where windows do not divide the tokens."""
MEANING = {
    "s": "tokens",
    "s'": "tokens of all windows, filled up",
    "f": "frames",
    "p": "tokens of a frame",
    "u": "tokens of a window",
    "m": "tokens of the text",
    "c": "width of the text",
    "o": "width of the result",
    "D": "model width",
    "D'": "width of all keys",
    "F": "inner width",
    "H": "width of a head",
    "N": "heads",
    "K": "key/value heads",
}
"""Letters of closed forms."""

MODULES: dict[str, Module] = {
    "feed-forward": Module(lambda z: parts.feed_forward(z.gated == "yes"), everything, ALL, "T"),
    "full self-attention": Module(lambda z: parts.self_attention(), everything, ALL, "TS"),
    "cross-attention": Module(lambda z: parts.cross_attention(), everything, ALL, "T"),
    "spatial self-attention": Module(lambda z: parts.self_attention(parts.FRAMES), in_space, SPACE, "a"),
    "spatial cross-attention": Module(lambda z: parts.cross_attention(parts.FRAMES), in_space, SPACE, "a"),
    "temporal self-attention": Module(lambda z: parts.self_attention(parts.POSITIONS), in_time, TIME, "TS"),
    "linear attention": Module(lambda z: parts.linear_attention(), everything, ALL, "T"),
    "windowed attention": Module(lambda z: parts.self_attention(parts.WINDOWS), in_windows, WINDOW, "", FILLED),
}
"""Name → part, in the order of the table."""


def count_modules(
    sizes: ModuleSizes,
    fusion: str = "unfused",
    *,
    only: Iterable[str] = (),
    precision: Precision | None = None,
) -> tuple[ModuleCount, ...]:
    """FLOP and traffic of each part; all numbers may be arrays.

    sizes   widths, heads, and tokens along time, height and width
    fusion  "unfused" or "flash"
    only    names of some parts; none for all
    raises  BadInput for a name that is none of them

    Example: attention over s tokens of width D is 8·s·D² + 4·s²·D, a feed-forward four times as wide inside
    16·s·D²: equal at s = 2·D = 3072 (the article on diffusion transformers that docs/diffusion-analysis.md follows).

    >>> both = count_modules(ModuleSizes(frames=3, height=32, width=32), only=("feed-forward", "full self-attention"))
    >>> [(m.whole.formula, m.whole.flops) for m in both]
    [('16·s·D²', 115964116992.0), ('8·s·D² + 4·s²·D', 115964116992.0)]
    """
    wanted = tuple(only) or tuple(MODULES)
    for name in wanted:
        if name not in MODULES:
            raise BadInput(f"{name[:40]!r} is no part; {near(name, MODULES)}")
    return tuple(counted(name, sizes, fusion, precision or Precision()) for name in wanted)


def sizes_of_model(model: Transformer) -> ModuleSizes:
    """The sizes that parts have in a diffusion transformer: its widths and heads, its text, the tokens of its usual video.

    A feed-forward of experts counts as one of them. A model that reads no text leaves the text as it is where nothing is said.

    raises BadInput for a model that denoises nothing

    >>> from floorline.catalogue.load import load_model
    >>> z = sizes_of_model(load_model("wan2.1-t2v-14b"))
    >>> z.hidden_size, z.heads, z.inner, z.text_tokens, z.text_width, (z.frames, z.height, z.width)
    (5120.0, 40.0, 13824.0, 512.0, 5120.0, (21.0, 30.0, 52.0))
    """
    if model.latent is None:
        raise BadInput(f"{model.name} is no diffusion model; expected one such as flux.1-dev, or sizes by flags")
    usual, own = grid(model, Denoise()), model.sizes
    text = {"text_tokens": usual.text, "text_width": text_width(model)} if all_true(number(usual.text) >= 1.0) else {}
    ops = [op for stack in model.stacks if stack.is_layer for op in stack.block.ops if isinstance(op, Contraction)]
    up = [op for op in ops if "F" in op.outputs[0].letters]
    down = [op for op in ops if "F" in op.operands[0].letters]
    return ModuleSizes(
        hidden_size=own["D"],
        num_heads=own["K"] * own["G"],
        num_kv_heads=own["K"],
        intermediate_size=own["F"],
        gated="yes" if len(up) > len(down) else "no",
        frames=usual.t,
        height=usual.h,
        width=usual.w,
        **text,
    )


def text_width(model: Transformer) -> Num:
    """Width of the text where layers first project it: the encoder's, or what that was brought to before [-]."""
    for stack in model.stacks:
        for op in stack.block.ops if stack.is_layer else ():
            if isinstance(op, Contraction) and op.weights and "M" in op.operands[0].letters:
                return Numbers({**model.sizes, **stack.sizes}).value(Product(1.0, op.matmul()[3]))
    return model.sizes["D"]


def counted(name: str, sizes: ModuleSizes, fusion: str, precision: Precision) -> ModuleCount:
    """One part."""
    module, numbers, rules = MODULES[name], numbers_of(name, sizes), rules_of(name, sizes)
    block = module.block(sizes)
    rows = program.inference(block, implementation(fusion), Plan.of(()))
    launches = tuple(launch(row, numbers, rules, precision) for row in rows)
    products = [product for row in rows for _, product in row.flops]
    cores = core_products(block, rows)
    pieces = pieces_of(rows)
    return ModuleCount(
        Traffic(
            name,
            closed_form(products, rules),
            *(total(getattr(x, key) for x in launches) for key in ("flops", "inputs", "weights", "written", "bytes")),
        ),
        total(numbers.value(p) for p in cores),
        closed_form(cores, rules),
        {key: closed_form((p.elements for p in found), rules) for key, found in pieces.items()},
        launches,
    )


def products_of(name: str, sizes: ModuleSizes) -> tuple[Product, ...]:
    """FLOP of a part in letters."""
    return tuple(product for op in MODULES[name].block(sizes).ops for product in op.flops())


def core_products(block: Block, rows: Iterable[Row]) -> tuple[Product, ...]:
    """FLOP of contractions of activations alone."""
    inside = {op.name for op in block.ops if isinstance(op, Contraction) and not op.weights}
    return tuple(product for row in rows for name, product in row.flops if name in inside)


def numbers_of(name: str, sizes: ModuleSizes) -> Numbers:
    """Sizes of a part's letters."""
    widths = {"D": sizes.hidden_size, "F": sizes.inner, "o": sizes.out, "c": sizes.text_width, "M": sizes.text_tokens}
    heads = {"K": sizes.kv_heads, "G": sizes.group, "H": sizes.head_dim, "U": sizes.head_dim}
    return Numbers({"B": sizes.batch, "visible": 1.0, **widths, **heads, **MODULES[name].letters(sizes)})


def rules_of(name: str, sizes: ModuleSizes) -> tuple[Rule, ...]:
    """What letters of a part are called, for one video: numbers that are the same at every point have one name."""
    alike = same(sizes.group, 1.0)
    keys = "D" if alike else "D'"
    heads = (rule("KGH", "D"), rule("KGU", "D"), rule("KG", "N"), rule("KH", keys), rule("KU", keys), rule("U", "H"))
    equal = (rule("G", ""), rule("K", "N")) if alike else ()
    times = sizes.inner / sizes.hidden_size
    inner = (rule("F", "D", one_of(times)),) if same(times, one_of(times)) and one_of(times).is_integer() else ()
    out = (rule("o", "D"),) if same(sizes.out, sizes.hidden_size) else ()
    part = MODULES[name]
    tokens = part.names if same(computed_tokens(name, sizes), sizes.tokens) else part.filled
    return (rule("B", ""), rule("M", "m"), *tokens, *heads, *equal, *inner, *out)


def computed_tokens(name: str, sizes: ModuleSizes) -> Num:
    """Tokens of a video that a part computes: all, and with windows what fills the last ones up [-].

    >>> float(computed_tokens("windowed attention", ModuleSizes(frames=1, height=30, width=45)))
    1536.0
    """
    found: Num = 1.0
    for letter, size in MODULES[name].letters(sizes).items():
        found = found * (1.0 if letter == "S" else size)  # S counts the same tokens as keys
    return found


def one_of(value: Num) -> float:
    """A number, or the first of several."""
    return float(np.asarray(value).flat[0])


def same(a: Num, b: Num) -> bool:
    """Whether two numbers are equal at every point."""
    return all_true(number(a) == number(b))


def launch(row: Row, numbers: Numbers, rules: tuple[Rule, ...], precision: Precision) -> Traffic:
    """One launch."""
    pieces = pieces_of((row,))
    inputs, weights, written = (total(numbers.value(p.elements) for p in found) for found in pieces.values())
    flops = total(numbers.value(product) for _, product in row.flops)
    formula = closed_form((product for _, product in row.flops), rules)
    moved = program.price(row, numbers, precision).bytes
    return Traffic(row.name, formula, flops, inputs, weights, written, moved)


def pieces_of(rows: Iterable[Row]) -> dict[str, tuple[Piece, ...]]:
    """What some launches read and write, by kind."""
    found: dict[str, tuple[Piece, ...]] = {"inputs": (), "weights": (), "written": ()}
    for row in rows:
        found["inputs"] += tuple(p for p in row.reads if not p.tensor.is_weight)
        found["weights"] += tuple(p for p in row.reads if p.tensor.is_weight)
        found["written"] += row.writes
    return found
