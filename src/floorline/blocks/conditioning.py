"""What tells a diffusion transformer where it is: the time, the guidance, a class, a pooled text; and the text itself.

Letters: ``w`` waves of a time, ``v`` width of the vector that conditions, ``u`` width inside its two matmuls, ``e`` width of
the text as its encoder leaves it, ``p`` of its pooled vector.

Sources: Peebles and Xie 2022 (DiT), arXiv:2212.09748, section 3.2; Esser et al. 2024 (SD3), arXiv:2403.03206, section 4;
Chen et al. 2023 (PixArt-α), arXiv:2310.00426, section 2.3.
"""

from __future__ import annotations

from floorline.letters import operands
from floorline.op import Op, contraction, elementwise


def two_matmuls(
    name: str, source: str, target: str, activation: str, *, inner: str = "u", bias: bool = True, last_bias: bool = True
) -> tuple[Op, ...]:
    """A matmul, an activation, a matmul: how times and texts become vectors of the model's width.

    source, target  with their letters; those that both have are rows
    inner           letter of the width in between
    bias            of the first
    last_bias       of the second

    Source: Peebles and Xie 2022 (DiT), arXiv:2212.09748, appendix A; diffusers, models/embeddings.py, TimestepEmbedding.

    >>> [str(op.outputs[0]) for op in two_matmuls("time", "waves[Bw]", "vec[Bv]", "silu")]
    ['time_u[Bu]', 'time_m[Bu]', 'vec[Bv]']
    """
    ((_, given),), ((_, made),) = operands(source), operands(target)
    rows = "".join(x for x in given if x in made)
    wide, out = "".join(x for x in given if x not in rows), "".join(x for x in made if x not in rows)
    return (
        contraction(f"{name}_up", f"{source} W{name}_up[{wide}{inner}] -> {name}_u[{rows}{inner}]", bias=bias),
        elementwise(f"{name}_act", f"{name}_u[{rows}{inner}] -> {name}_m[{rows}{inner}]", activation),
        contraction(f"{name}_down", f"{name}_m[{rows}{inner}] W{name}_down[{inner}{out}] -> {target}", bias=last_bias),
    )


def summed(name: str, parts: tuple[str, ...], target: str) -> tuple[Op, ...]:
    """Vectors added; a single one is what it is.

    parts   with their letters
    target  with its own

    >>> [op.name for op in summed("add", ("time[Bv]", "pooled[Bv]"), "vec[Bv]")]
    ['add']
    """
    return (elementwise(name, f"{' '.join(parts)} -> {target}", "add", linear=True),)
