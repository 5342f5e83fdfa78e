"""What goes to the host's memory and back while a step runs: activations and weights beside the passes, the optimizer's state
after them."""

from __future__ import annotations

from floorline.expected import Expectation, Share
from floorline.host_link import host_rate
from floorline.num import Num, maximum, number
from floorline.specs.accelerator import Accelerator
from floorline.specs.recipe import Recipe
from floorline.training.updates import State
from floorline.training.work import NOTHING, Work

HOST_MEMORY = 25e9
"""What an update on the host moves for each device [B/s]: two sockets of eight channels of DDR4-3200, 410 GB/s, half of it
reached, shared by eight devices (Ren et al. 2021, ZeRO-Offload, arXiv:2101.06840, section 5: Adam by vector instructions is bound
by memory)."""


def waiting(stage: Work, kept_bytes: Num, weight_bytes: Num, recipe: Recipe, device: Accelerator) -> Num:
    """What a micro-batch waits for its activations, which leave beside the forward pass and return beside the backward pass, and
    for weights, which come for either pass; one link takes what leaves and what comes at the same time [s].

    kept_bytes    of all activations that the stage keeps of a micro-batch [B]
    weight_bytes  of the stage's weights that are this rank's [B]
    """
    moving = kept_bytes * recipe.offload_activations / host_rate(device)
    coming = weight_bytes * (1.0 if recipe.offload_parameters == "yes" else 0.0) / host_rate(device)
    back = stage.dgrad.seconds + stage.wgrad.seconds
    return maximum(maximum(moving, coming) - stage.forward.seconds, 0.0) + maximum(moving + coming - back, 0.0)


def on_host(recipe: Recipe) -> bool:
    """Whether the host updates the weights: it has the optimizer's state, or the weights themselves.

    >>> on_host(Recipe(offload_parameters="yes"))
    True
    """
    return "yes" in (recipe.offload_optimizer, recipe.offload_parameters)


def updating_on_host(own: Num, each: State, recipe: Recipe, device: Accelerator) -> Expectation:
    """The update where the state lives in the host's memory: gradients go there, the host updates, weights come back
    unless that is where they stay.

    own  trained parameters of the rank [-]
    """
    if not on_host(recipe):
        return NOTHING
    back = 0.0 if recipe.offload_parameters == "yes" else each.weight
    moved = own * (each.gradient + back) / host_rate(device)
    updated = own * 2.0 * (each.master + each.moments) / HOST_MEMORY
    seconds = number(moved + updated)
    share = Share(seconds, seconds * 0.5, seconds, 1.0, ("assumed",), False)
    return Expectation({"offload": share}, 0.0, asked="training")
