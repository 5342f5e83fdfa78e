"""The parts of a model as pipeline stages see them: a layer, on average over all of its kinds, what comes before the layers, and
what comes after."""

from __future__ import annotations

from dataclasses import dataclass

from floorline import program
from floorline.blocks.stage import STAGE
from floorline.expected import Expectation
from floorline.num import Num, number
from floorline.program import handed_on
from floorline.specs.engine import Engine
from floorline.specs.recipe import Recipe
from floorline.step import Step
from floorline.training.pricing import Pricing
from floorline.training.work import NOTHING, Tally, Work, work


@dataclass(frozen=True, eq=False)
class Parts:
    """Work of one micro-batch on one rank.

    layer      the mean layer
    embedding  all that comes before the layers
    head       all that comes after
    handed     one message from a pipeline stage to the next
    """

    layer: Work
    embedding: Work
    head: Work
    handed: Expectation


def policies(recipe: Recipe, layers: Num) -> tuple[tuple[str, Num], ...]:
    """What is recomputed, and in which share of the layers.

    >>> policies(Recipe(recompute="full", recompute_layers=8), 32.0)
    (('full', 0.25), ('none', 0.75))
    """
    policy = "+".join(recipe.modules) if recipe.recompute == "selective" else recipe.recompute
    if recipe.recompute_layers is None or policy == "none":
        return ((policy, 1.0),)
    share = number(recipe.recompute_layers) / layers
    return ((policy, share), ("none", 1.0 - share))


def parts(step: Step, recipe: Recipe, fusion: str, price: Pricing, engine: Engine) -> Parts:
    """The parts of a model in one micro-batch.

    step    of the micro-batch on all data-parallel ranks, under the mask that the model has
    fusion  an implementation
    """
    layers = step.model.layers()
    layer, before, after, handed, seen = Work(), Work(), Work(), NOTHING, False
    known: frozenset[str] = frozenset()
    for stack, numbers in step.numbers("causal"):
        if stack.block is STAGE:
            row, tally = handed_on(step.plan), Tally()
            assert row.message is not None
            buffer, _ = program.message_size(row.message, numbers, step.precision)
            tally.add("stage messages", price.message(row.message, numbers, buffer))
            handed = tally.whole
            continue
        shares = policies(recipe, layers) if stack.is_layer else (("none", 1.0),)
        for policy, share in shares:
            found = work(step, stack, numbers, fusion, policy, price, engine, known)
            found = found if isinstance(share, float) and share == 1.0 else found.times(share)
            if stack.is_layer:
                layer, seen = layer + found.times(stack.repeat / layers), True
            elif seen:
                after = after + found.times(stack.repeat)
            else:
                before = before + found.times(stack.repeat)
        known = known | {t.name for t in stack.block.weights() if t.is_shared}
    return Parts(layer, before, after, handed)
