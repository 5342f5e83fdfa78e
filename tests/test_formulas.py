"""The contract of formulas: what their docstrings say, what their code may use, and that their units come out."""

import ast
import inspect
import re
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from published import FOLDER, FORMULAS, MODULES, Formula

UNITS = {"-", "1/s", "B", "B/s", "FLOP", "FLOP/s", "FLOP/B", "s", "d", "USD", "USD/h", "J", "J/s"}
SCALE = MappingProxyType({"B": 2.0**9, "s": 2.0**-7, "FLOP": 2.0**13})
"""Other units of bytes, seconds and FLOP: powers of two, so that a rescaled number rounds as the first did."""

HIDDEN = MappingProxyType(
    {
        "inference.kv_flops_per_token": 1,
        "inference.forward_flops_per_token": 1,
        "inference.stage_flops_per_byte": 1,
        "inference.batch_arithmetic_time": 1,
        "inference.fetch_over_recompute": -1,
        "kernels.axpy_flops": 1,
        "kernels.matmul_flops": 1,
        "kernels.square_matmul_intensity": 1,
        "optimizer.newton_schulz_flops": 1,
        "training.six_n_d": 1,
        "training.palm_flops_per_token": 1,
        "training.training_days": 1,
        "roofline.crossover_size": -1,
    }
)
"""Formulas that count: their coefficient is FLOP for each element, parameter or token (2 for a multiply-add), to this
power. Their FLOP do not follow from FLOP among their inputs, so that unit alone stays fixed for them."""

every_formula = pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.name)


def factor(unit: str) -> float:
    """What a number in this unit is multiplied by when the units change."""
    top, _, bottom = re.sub(r"\b[dh]\b", "s", unit).partition("/")
    return SCALE.get(top, 1.0) / SCALE.get(bottom, 1.0)


def test_there_are_formulas() -> None:
    assert len(MODULES) >= 5
    assert len(FORMULAS) >= 25
    assert len({f.name.partition(".")[2] for f in FORMULAS}) == len(FORMULAS)
    assert set(HIDDEN) <= {f.name for f in FORMULAS}


@every_formula
def test_docstring(formula: Formula) -> None:
    text, names = formula.docstring, [q.name for q in formula.quantities]
    first, _, rest = text.partition("\n\n")
    assert first.endswith(".")
    latex = rest.split("$$")
    assert len(latex) == 3
    assert "=" in latex[1]
    assert names == [*formula.parameters, "returns"]
    assert set(formula.units.values()) <= UNITS
    assert "Source:" in rest
    assert ">>>" in rest
    order = [text.index(part) for part in ("$$", "\nreturns", "Source:", ">>>")]
    assert all(a < b for a, b in pairwise(order))


@every_formula
def test_letters_stand_in_the_formula(formula: Formula) -> None:
    """Each declared letter is in the LaTeX, Greek ones and accents by their command."""
    latex = formula.docstring.split("$$")[1]
    commands = {"π": r"\pi", "β": r"\beta", "α": r"\alpha", "λ": r"\lambda", "ν": r"\nu", "σ": r"\sigma"}
    missing = [q.letter for q in formula.quantities if commands.get(q.letter, q.letter.rstrip("*")) not in latex]
    assert not missing


@every_formula
def test_numbers_in_numbers_out(formula: Formula) -> None:
    signature = inspect.signature(formula.function)
    assert {p.annotation for p in signature.parameters.values()} | {signature.return_annotation} == {"Num"}
    assert all(p.default is inspect.Parameter.empty for p in signature.parameters.values())


@pytest.mark.parametrize("module", MODULES)
def test_no_branches_and_no_imports_but_num(module: str) -> None:
    nodes = list(ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())))
    banned = (
        *(ast.If, ast.IfExp, ast.While, ast.For, ast.Match, ast.Try, ast.BoolOp, ast.comprehension, ast.Raise),
        *(ast.Import, ast.Lambda, ast.Global),
    )
    assert [type(node).__name__ for node in nodes if isinstance(node, banned)] == []
    assert {n.module for n in nodes if isinstance(n, ast.ImportFrom)} <= {"__future__", "floorline.num"}


@every_formula
@given(data=st.data())
def test_units(formula: Formula, data: st.DataObject) -> None:
    """In other units of bytes, seconds and FLOP the same answer comes out, in its own unit."""
    positive = st.floats(1e-3, 1e15, allow_subnormal=False)
    values = data.draw(st.tuples(*(positive for _ in formula.parameters)))
    units = formula.units
    before = formula.function(*values)
    after = formula.function(*(v * factor(units[name]) for v, name in zip(values, formula.parameters, strict=True)))
    power = HIDDEN.get(formula.name, 0)
    assert after == np.multiply(before, factor(units["returns"]) / SCALE["FLOP"] ** power)
