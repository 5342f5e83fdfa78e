"""Every number opens: a total into operators, an operator into its letters with the numbers filled in, and a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from floorline.capacity import Fit
from floorline.counts import Count, inference
from floorline.errors import BadInput, near
from floorline.letters import MEANING, Numbers, Product
from floorline.memory import cache_pieces
from floorline.num import Num
from floorline.program import EARLIER
from floorline.published import formula, formula_names
from floorline.result import Result
from floorline.step import Step
from floorline.transformer import Transformer

FIGURES = ("params", "flops", "kv", "memory", "ttft", "tpot", "latency")


@dataclass(frozen=True)
class Explanation(Result):
    """A figure with where it comes from.

    title    what it is
    formula  in letters
    filled   with the numbers in place
    value    in SI units
    unit     its unit
    source   paper, article or rule
    latex    the formula for typesetting, where it is published so
    legend   what the letters stand for
    parts    what it is made of
    """

    title: str
    formula: str
    filled: str
    value: Num
    unit: str
    source: str = ""
    latex: str = ""
    legend: str = ""
    parts: tuple[Explanation, ...] = ()


def explain_formula(name: str, values: Mapping[str, Num]) -> Explanation:
    """A published formula with its numbers filled in.

    name    of a function in ``floorline.formulas``
    values  a number for each of its arguments, SI units
    raises  BadInput for an unknown formula, a missing or an unknown argument

    >>> explain_formula("machine_balance", {"peak": 312e12, "bandwidth": 1.5e12}).value
    208.0
    """
    if name not in formula_names():
        raise BadInput(f"{name!r} is no formula; {near(name, formula_names())} ('floorline explain' lists all)")
    found = formula(name)
    wanted = {q.name: q for q in found.arguments}
    call = " ".join(f"{q.name}=… [{q.unit}]" for q in found.arguments)
    for key in values:
        if key not in wanted:
            raise BadInput(f"{name} has no argument {key!r}; it takes {call}")
    missing = [q.name for q in found.arguments if q.name not in values]
    if missing:
        raise BadInput(f"{name} needs {', '.join(missing)}; give {call}")
    value = found.function(**values)
    filled = ", ".join(f"{q.letter} = {plain(values[q.name])} {q.unit}".replace(" -", "") for q in found.arguments)
    shown = f"{found.result.letter} from {', '.join(q.letter for q in found.arguments)}"
    return Explanation(
        found.title,
        shown,
        filled,
        float(np.asarray(value)),
        found.result.unit.replace("-", ""),
        found.source,
        found.latex,
    )


def plain(value: Num) -> str:
    """A number with up to ten digits."""
    return f"{float(np.asarray(value)):.10g}"


def explain_params(model: Transformer) -> Explanation:
    """Parameters by tensor."""
    counted = model.parameter_count()
    parts = []
    for (stack, op, tensor), module in zip(model.weights(), counted.modules, strict=True):
        product = Product(1.0, tensor.letters)
        numbers = Numbers({**model.sizes, **stack.sizes}, derived=dict(stack.block.derived))
        times = f" × {plain(module.count)}" if plain(module.count) != "1" else ""
        parts.append(
            Explanation(
                f"{stack.block.name}.{op} {tensor}",
                product.formula() + (" × copies" if times else ""),
                numbers.filled(product) + times,
                module.parameters,
                "",
            )
        )
    legend = ", ".join(f"{k} {MEANING.get(k, '')} {plain(v)}" for k, v in model.sizes.items())
    return Explanation(
        f"parameters of {model.name}",
        "sum over distinct weights, tied ones once",
        legend,
        counted.total,
        "",
        model.source,
        parts=tuple(parts),
    )


def cache_by_tensor(answer: Fit, whole: str) -> Explanation:
    """The cache of layers that differ, or keep something else than keys and values: each tensor that is kept."""
    model, formats = answer.model, answer.precision
    step = Step(model, answer.batch, 1.0, answer.length - 1.0, precision=formats, source=answer.source)
    after = replace(step, earlier=answer.length)
    parts = tuple(
        Explanation(
            f"{stack.block.name} {piece.tensor}",
            f"b·{piece.elements.formula()} × repeat",
            f"{formats.bytes(piece.tensor.role, piece.tensor.format):g}·{numbers.filled(piece.elements)} × {plain(stack.repeat)}",
            after.bytes((piece,), numbers) * stack.repeat,
            "B",
        )
        for stack, numbers in after.numbers()
        for piece in cache_pieces(stack.block, after.cut(stack))
    )
    return Explanation(
        f"KV cache of {model.name}",
        "sum over what the layers keep",
        f"on average {whole}",
        answer.kv_bytes,
        "B",
        legend=f"{EARLIER} tokens that a layer keeps",
        parts=parts,
    )


def explain_flops(model: Transformer, counted: Count, step: Step) -> Explanation:
    """FLOP of one pass by operator."""
    parts = tuple(
        Explanation(
            f"{part.stack.block.name}.{name}",
            f"{product.formula()} × repeat",
            f"{part.numbers.filled(product)} × {plain(part.stack.repeat)}",
            part.numbers.value(product) * part.stack.repeat,
            "FLOP",
        )
        for part in inference(step, counted.fusion)
        for row in part.rows
        for name, product in row.flops
    )
    convention = f"a multiply-add is two; attention over the {counted.attention} query × key square"
    if counted.attention == "causal":
        convention = "a multiply-add is two; attention over the pairs that a causal mask leaves"
    return Explanation(
        f"FLOP of {model.name}",
        "sum over operators of 2 × the product of all letters",
        convention,
        counted.flops,
        "FLOP",
        "convention of PyTorch's FlopCounterMode",
        parts=parts,
    )


def explain_kv(answer: Fit) -> Explanation:
    """Bytes of the key/value cache."""
    model = answer.model
    letters = "2·b·L·K·H a token, times tokens, times sequences"
    size = answer.precision.bytes("kv_cache")
    s = model.sizes
    whole = f"{plain(answer.kv_per_token)} B a token, × {plain(answer.length)} tokens × {plain(answer.batch)} sequences"
    if answer.kv_per_token != 2.0 * size * model.layers() * s.get("K", 0.0) * s.get("H", 0.0):
        return cache_by_tensor(answer, whole)
    each = f"2·{size:g}·{plain(model.layers())}·{plain(s['K'])}·{plain(s['H'])}"
    filled = f"{each} = {whole}"
    return Explanation(
        f"KV cache of {model.name}",
        letters,
        filled,
        answer.kv_bytes,
        "B",
        formula("kv_bytes_per_token").source,
        formula("kv_bytes_per_token").latex,
    )


def explain_memory(answer: Fit) -> Explanation:
    """Memory of one device by kind."""
    m, own = answer.memory, answer.model.quantization
    form = answer.precision.weights if own is None else f"{own.label}, the rest {answer.precision.weights}"
    parts = (
        Explanation("weights", "parameters of one rank × bytes", f"formats: {form}", m.weights, "B"),
        Explanation(
            "KV cache",
            "what one rank keeps of the tokens",
            f"keys and values in {answer.precision.kv_cache}, states in fp32",
            m.kv_cache,
            "B",
        ),
        Explanation(
            "activations",
            "largest set of tensors alive at once",
            "the larger of a prefill and a decode step",
            m.activations,
            "B",
        ),
        Explanation("workspace", "of the matmul library", "as the engine's software has it", m.workspace, "B"),
        Explanation("graphs", "captured graphs", "as the engine's software has them", m.graphs, "B"),
        Explanation("framework", "context + message buffers", "as measured of the engine's software", m.framework, "B"),
    )
    total = " + ".join(plain(size) for size in m.kinds.values())
    return Explanation(
        f"memory of one device, {answer.model.name}",
        "weights + KV cache + activations + workspace + graphs + framework",
        total,
        m.total,
        "B",
        parts=parts,
    )


def render(node: Explanation, style: str = "text", depth: int = 0) -> str:
    """An explanation as text, Markdown or LaTeX.

    raises BadInput for another style
    """
    if style not in STYLES:
        raise BadInput(f"style is {style[:40]!r}; expected one of {', '.join(STYLES)}")
    return STYLES[style](node, depth)


def number(node: Explanation) -> str:
    """The value with its unit: counts in full."""
    value = float(np.asarray(node.value))
    whole = value == int(value) and abs(value) < 2.0**63 if np.isfinite(value) else False
    return (f"{value:,.0f}".replace(",", " ") if whole and node.unit in ("", "B", "FLOP") else f"{value:.6g}") + (
        f" {node.unit}" if node.unit else ""
    )


def as_text(node: Explanation, depth: int) -> str:
    """Indented lines."""
    pad = "  " * depth
    lines = [f"{pad}{node.title} = {number(node)}"]
    if depth == 0 and node.latex:
        lines.append(f"{pad}  formula  {node.latex}")
    else:
        lines.append(f"{pad}  = {node.formula}")
    lines.append(f"{pad}  {'with     ' if depth == 0 and node.latex else '= '}{node.filled}")
    if node.source:
        lines.append(f"{pad}  source   {node.source}")
    if node.legend:
        lines.append(f"{pad}  letters  {node.legend}")
    return "\n".join([*lines, *(as_text(p, depth + 1) for p in node.parts)])


def as_markdown(node: Explanation, depth: int) -> str:
    """A nested list."""
    pad = "  " * depth
    maths = f" $${node.latex}$$" if node.latex else f" `{node.formula}`"
    source = f" ({node.source})" if node.source else ""
    own = f"{pad}- **{node.title}**:{maths}, {node.filled}, **{number(node)}**{source}"
    return "\n".join([own, *(as_markdown(p, depth + 1) for p in node.parts)])


def as_latex(node: Explanation, depth: int) -> str:
    """Lines of an ``align*`` environment."""
    maths = (
        node.latex
        or r"\text{" + node.formula.replace("·", r"$\cdot$").replace("×", r"$\times$").replace("Σ", r"$\Sigma$") + "}"
    )
    line = rf"\text{{{node.title.replace('_', ' ')}}} &: {maths} = {number(node)} \\"
    body = "\n".join([line, *(as_latex(p, depth + 1) for p in node.parts)])
    return "\\begin{align*}\n" + body + "\n\\end{align*}" if depth == 0 else body


STYLES = {"text": as_text, "markdown": as_markdown, "latex": as_latex}
