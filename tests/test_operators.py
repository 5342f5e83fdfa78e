"""Operator kinds beside contractions: convolutions, scans, routes, lookups, views."""

from __future__ import annotations

import json

import pytest

from floorline.block import Block, block
from floorline.convolution import convolution
from floorline.errors import BadInput
from floorline.implementations import implementation
from floorline.letters import Numbers
from floorline.op import Op, contraction
from floorline.parallel.plan import Plan
from floorline.passes import backward, saved
from floorline.program import inference, price
from floorline.route import route
from floorline.scan import scan
from floorline.specs.precision import Precision
from oracle import ORACLE

FLASH = implementation("flash")


def flops(ops: tuple[Op, ...], numbers: Numbers) -> float:
    """FLOP of some operators."""
    return float(sum(numbers.value(p) for op in ops for p in op.flops()))


def test_patches_of_a_vision_transformer_equal_the_oracle() -> None:
    modules = json.loads((ORACLE / "flops_modules.json").read_text())["models"]
    name = next(k for k in modules if k.startswith("vit-base-patch16") or k.startswith("vit-b"))
    counted = next(v for k, v in modules[name].items() if "projection" in k)["convolution"]
    config = json.loads((ORACLE / "configs" / f"{name.split('|')[0]}.json").read_text())
    side, size = config["image_size"] // config["patch_size"], config["patch_size"]
    sizes = {"B": 1, "C": 3, "I": config["image_size"], "J": config["image_size"], "X": side, "Y": side}
    numbers = Numbers({k: float(v) for k, v in {**sizes, "D": config["hidden_size"], "i": size, "j": size}.items()})
    patches = convolution("patch", "px[BCIJ] Wpatch[DCij] -> e[BDXY]", bias=True)
    assert flops((patches,), numbers) == counted


def patch_block() -> Block:
    ops = (
        convolution("patch", "x[BCIJ] Wpatch[DCij] -> e[BDXY]", bias=True),
        contraction("mix", "e[BDXY] Wmix[DF] -> y[BFXY]"),
    )
    return block("stem", "x[BCIJ]", ops, "y")


def test_a_convolution_costs_twice_as_much_backward() -> None:
    numbers = Numbers(dict.fromkeys("BCIJDXYijF", 2.0))
    stem = patch_block()
    back = backward(stem, FLASH)
    assert flops(back, numbers) == 2 * flops(stem.ops, numbers)
    assert [op.name for op in back] == ["mix.dgrad", "mix.wgrad", "patch.dgrad", "patch.wgrad"]
    assert [t.name for t in saved(stem, FLASH).tensors] == ["x", "e"]


def test_a_scan_has_the_flop_of_its_own_contractions() -> None:
    layer = scan("ssm", "x[BThP] b[BTN] c[BTN] -> y[BThP]", ("BThPN", "BThPN"), "recurrent")
    numbers = Numbers({"B": 2.0, "T": 3.0, "h": 4.0, "P": 5.0, "N": 7.0})
    assert flops((layer,), numbers) == 2 * 2 * (2 * 3 * 4 * 5 * 7)
    mixer = block("mixer", "x[BThP] b[BTN] c[BTN]", (layer,), "y")
    back = backward(mixer, FLASH)
    assert flops(back, numbers) == 2 * flops((layer,), numbers)
    assert {t.name for op in back for t in op.outputs} == {"dx", "db", "dc"}


def test_a_route_moves_each_token_once_and_goes_back_the_same_way() -> None:
    ops = (
        route("dispatch", "x[BTD] -> xe[ECD]"),
        contraction("up", "xe[ECD] Wup[EDf] -> u[ECf]"),
        contraction("down", "u[ECf] Wdown[EfD] -> ye[ECD]"),
        route("combine", "ye[ECD] -> y[BTD]"),
    )
    experts = block("experts", "x[BTD]", ops, "y", derived=(("C", "B*T*k/E"),))
    sizes = {"B": 2.0, "T": 8.0, "D": 16.0, "E": 4.0, "k": 2.0, "f": 32.0}
    numbers = Numbers(sizes, derived=dict(experts.derived))
    first, *_, last = inference(experts, FLASH, Plan.of(()))
    assert (first.name, last.name) == ("dispatch", "combine")
    slots, tokens = 4 * (2 * 8 * 2 / 4) * 16, 2 * 8 * 16
    assert price(first, numbers, Precision()).bytes == price(last, numbers, Precision()).bytes == 2 * (tokens + slots)
    assert flops(ops, numbers) == 2 * 2 * (2 * 8 * 2) * 16 * 32
    made = [str(t) for op in backward(experts, FLASH) for t in op.outputs]
    assert made == ["dye[ECD]", "du[ECf]", "dWdown[EfD]", "dxe[ECD]", "dWup[EDf]", "dx[BTD]"]


def test_a_convolution_needs_a_weight() -> None:
    with pytest.raises(BadInput, match="must be an input, a weight and one output"):
        convolution("patch", "px[BCIJ] w[DCij] -> e[BDXY]")
