"""A block that makes no sense does not construct, and what is derived from one that does is complete."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from floorline import load_model, passes, program
from floorline.block import Block, block
from floorline.errors import BadInput
from floorline.implementations import ALL, implementation
from floorline.letters import Expression, Numbers
from floorline.op import Contraction, Op, cache_write, contraction, elementwise, lookup
from floorline.parallel.plan import Plan
from floorline.step import Step
from floorline.tensor import TOKENS
from floorline.transformer import Transformer

UP = contraction("up", "x[BTD] Wup[DF] -> u[BTF]")
ACT = elementwise("act", "u[BTF] -> m[BTF]", "gelu")
DOWN = contraction("down", "m[BTF] Wdown[FD] -> y[BTD]")


def test_a_sound_block_constructs() -> None:
    made = block("mlp", "x[BTD]", (UP, ACT, DOWN), "y")
    assert [str(t) for t in made.weights()] == ["Wup[DF]", "Wdown[FD]"]
    assert made.caches() == ()


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "dangling input": (lambda: block("b", "x[BTD]", (ACT,), "m"), "'act' reads u[BTF], which nothing before it makes"),
    "used before it is made": (lambda: block("b", "x[BTD]", (DOWN, UP, ACT), "y"), "'down' reads m[BTF]"),
    "undeclared block input": (lambda: block("b", "z[BTD]", (UP,), "u"), "'up' reads x[BTD]"),
    "two operators of one name": (
        lambda: block("b", "x[BTD]", (UP, contraction("up", "u[BTF] Wtwo[FD] -> w[BTD]")), "w"),
        "two operators are called 'up'",
    ),
    "one output twice": (
        lambda: block("b", "x[BTD]", (UP, contraction("again", "x[BTD] Wtwo[DF] -> u[BTF]")), "u"),
        "'u' is made twice",
    ),
    "an input made again": (
        lambda: block("b", "x[BTD]", (UP, contraction("back", "u[BTF] Wtwo[FD] -> x[BTD]")), "x"),
        "'x' is made twice",
    ),
    "other letters than it was made with": (
        lambda: block("b", "x[BTD]", (UP, elementwise("act", "u[BSF] -> m[BSF]", "gelu")), "m"),
        "reads u[BSF], but u has letters [BTF]",
    ),
    "other letters than declared": (lambda: block("b", "x[BSD]", (UP,), "u"), "but x has letters [BSD]"),
    "a weight with two shapes": (
        lambda: block("b", "x[BTD]", (UP, contraction("down", "u[BTF] Wup[FD] -> y[BTD]")), "y"),
        "reads Wup[FD], but Wup has letters [DF]",
    ),
    "an output that nothing makes": (lambda: block("b", "x[BTD]", (UP,), "y"), "nothing makes the output 'y'"),
    "a name that is another's gradient": (
        lambda: block("b", "x[BTD]", (UP, elementwise("act", "u[BTF] -> du[BTF]", "gelu")), "du"),
        "'du' is also the gradient of 'u'",
    ),
    "a name that is a weight's gradient": (
        lambda: block("b", "x[BTD]", (UP, elementwise("act", "u[BTF] -> dWup[BTF]", "gelu")), "dWup"),
        "'dWup' is also the gradient of 'Wup'",
    ),
    "a contraction of one factor": (lambda: contraction("c", "x[BTD] -> y[BTD]"), "two factors"),
    "a contraction with two outputs": (lambda: contraction("c", "x[BTD] W[DF] -> y[BTF] z[BTF]"), "one output"),
    "an output letter from nowhere": (lambda: contraction("c", "x[BTD] W[DF] -> y[BTV]"), "made of their letters"),
    "no arrow": (lambda: contraction("c", "x[BTD] W[DF]"), "has no '->'"),
    "a tensor without letters": (lambda: contraction("c", "x W[DF] -> y[F]"), "'x' in 'x W[DF] ' is no tensor"),
    "an expression with code": (lambda: Expression("(lambda: 1)()")({}), "is not allowed"),
    "an expression that looks inside": (lambda: Expression("B.real")({"B": 1.0}), "is not allowed"),
    "a letter without value": (lambda: Numbers({"B": 1.0}).letters("BT"), "letter 'T' has no value"),
    "an unknown fusion": (lambda: implementation("flesh"), "expected one of unfused, flash, compulsory"),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_a_broken_block_does_not_construct(case: tuple[Callable[[], Any], str]) -> None:
    """And says why on one line."""
    build, expected = case
    with pytest.raises(BadInput) as error:
        build()
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


# What is derived from the blocks of real models

MODELS = {
    "gpt2": load_model("gpt2"),
    "gpt2-no-dropout": load_model(
        {"model_type": "gpt2", "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "bias": False}
    ),
    "llama": load_model("llama-3.1-8b"),
    "llama-tied": load_model("llama-3.2-1b"),
    "textbook": load_model(
        {
            "model_type": "textbook",
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 99,
        }
    ),
}
BLOCKS = {f"{name}-{stack.block.name}": stack.block for name, model in MODELS.items() for stack in model.stacks}
POLICIES = ("none", "selective", "full")
CASES = list(itertools.product(ALL, POLICIES))
each_block = pytest.mark.parametrize("made", BLOCKS.values(), ids=BLOCKS)


def matmuls(ops: tuple[Op, ...]) -> list[Contraction]:
    return [op for op in ops if isinstance(op, Contraction)]


@each_block
@pytest.mark.parametrize(("software", "policy"), CASES, ids=["-".join(case) for case in CASES])
def test_backward_reads_what_is_there(made: Block, software: str, policy: str) -> None:
    """Every input of the backward pass is kept, computed again, a weight, or a gradient that was made before."""
    used = ALL[software]
    forward = {op.name: op for op in made.ops}
    kept = passes.stored(made, used, policy)
    there = {t.name for t in (*made.inputs, *made.weights(), *kept)} | {t.copy_of for t in kept}
    there |= {f"d{name}" for name in (*made.outputs, "nll")}
    for op in passes.backward(made, used, policy):
        missing = [str(t) for t in op.inputs if t.name not in there]
        assert missing == [], f"{op.name} reads them"
        there |= {t.name for t in op.outputs}
        if op.name.endswith(".recompute"):  # with what its kernel keeps besides
            again = forward[op.name.removesuffix(".recompute")]
            there |= {t.name for t in used.saved(again)}
            there |= {t.name for keep in used.kernels.get(again.kernel, ()) for t in keep.tensors(again)}


@each_block
@pytest.mark.parametrize("policy", POLICIES)
def test_backward_makes_every_weight_gradient_once(made: Block, policy: str) -> None:
    names = [t.name for op in passes.backward(made, ALL["unfused"], policy) for t in op.outputs]
    for weight in made.weights():
        assert names.count(weight.gradient().name) == 1
    for tensor in made.inputs:
        assert (f"d{tensor.name}" in names) == (tensor.role != TOKENS)


@each_block
def test_each_matmul_has_two_of_its_size_backward(made: Block) -> None:
    """The gradients of both factors; a head's and a layer's inputs want gradients, so no dgrad is left out."""
    back = matmuls(passes.backward(made, ALL["unfused"]))
    for op in matmuls(made.ops):
        mine = [b for b in back if b.name.startswith(f"{op.name}.")]
        assert len(mine) == 2
        for b in mine:
            assert sorted(b.letters) == sorted(op.letters)
            assert b.visible == op.visible
            assert sorted("".join(b.matmul())) == sorted("".join(op.matmul()))


PRICED = list(itertools.product(("unfused", "flash", "compulsory"), POLICIES))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(("software", "policy"), PRICED, ids=["-".join(case) for case in PRICED])
def test_launches_hold_all_arithmetic(model: Transformer, software: str, policy: str) -> None:
    """The launches of a training pass, which times are made of, have the FLOP of its operators, which counts are."""
    for stack, numbers in Step(model, 2.0, 512.0, 0.0, 512.0).stacks:
        used = implementation(software)
        rows = program.training(stack.block, used, Plan.of(()), policy, frozenset())
        ops = (stack.block.ops, passes.backward(stack.block, used, policy))
        for launches, operators in zip(rows, ops, strict=False):
            launched = sum(float(numbers.value(p)) for row in launches for _, p in row.flops)
            assert launched == sum(float(numbers.value(p)) for op in operators for p in op.flops())


def test_caches_are_keys_and_values() -> None:
    for name, made in BLOCKS.items():
        expected = ["kc[BSKH]", "vc[BSKH]"] if name.endswith("-block") else []
        assert [str(t) for t in made.caches()] == expected


def test_inference_has_no_training_operators() -> None:
    """Dropout and the loss are gone, and what they fed reads what fed them."""
    for made in BLOCKS.values():
        ops = passes.inference(made)
        assert [op.name for op in ops] == [op.name for op in made.ops if op.phase != "train"]
        there = {t.name for t in (*made.inputs, *made.weights())}
        for op in ops:
            assert {t.name for t in op.inputs} <= there
            there |= {t.name for t in op.outputs}
        assert set(made.outputs) <= there


def test_lookup_reads_at_most_the_table() -> None:
    rows = lookup("tokens", "ids[BT] /We[VD] -> e[BTD]", "V", "min(B*T/V, 1)")
    made = block("e", "ids[BT]", (rows,), "e")
    read = rows.reads(made.weights()[0])
    for tokens, expected in ((8.0, 8.0), (5000.0, 100.0)):
        assert Numbers({"B": 1.0, "T": tokens, "V": 100.0, "D": 1.0}).value(read) == expected


def test_a_cache_write_writes_the_new_tokens_only() -> None:
    write = cache_write("keep", "k[BTKH] -> kc[BSKH]")
    assert write.writes(write.outputs[0]).letters == "BTKH"
    assert write.outputs[0].letters == "BSKH"
