"""Speculative decoding on the command line: flags and lines."""

from __future__ import annotations

from floorline.catalogue.load import load_model
from floorline.cli.command import Flag, Given
from floorline.cli.flags import build, of_spec
from floorline.cli.output import scalar
from floorline.errors import BadInput
from floorline.estimates import Estimate
from floorline.phases import Time
from floorline.speculation import Speculated, Speculation, speculate
from floorline.units import gib, seconds

HEADS = "heads"
DRAFT = Flag(
    "draft_model",
    ("--speculative-model", "--draft-model"),
    f"a small model that drafts tokens for this one to check, or '{HEADS}': its own multi-token-prediction heads",
)
SPECULATION = (DRAFT, *of_spec(Speculation))


def speculated(e: Estimate, given: Given) -> Speculated | None:
    """What speculative decoding makes of a generation; None where it was not asked for.

    raises BadInput where its numbers are given without what drafts
    """
    name = given.get("draft_model")
    if name is None:
        loose = [flag.flags[0] for flag in SPECULATION[1:] if given.get(flag.name) is not None]
        if loose:
            raise BadInput(f"{loose[0]} without a drafter; add --speculative-model MODEL, or '{HEADS}'")
        return None
    drafter = None if name == HEADS else load_model(name)
    return speculate(e, drafter, build(Speculation, given))


def show_speculation(e: Estimate, found: Speculated | None) -> None:
    """How long a token takes with it, and what that is made of; whether the drafter fits too."""
    if found is None:
        return
    ahead, chance = scalar(found.how.num_speculative_tokens), scalar(found.how.acceptance)
    print(
        f"\nspeculative decoding: {found.drafter} drafting {ahead:g} ahead, each token accepted with chance {chance:g}: "
        f"{scalar(found.tokens):.3g} tokens a round"
    )
    print(f"  one step of the drafter {told(found.draft)}, a check {told(found.check)}")
    faster = "" if found.speedup is None else f", {scalar(found.speedup):.2f} times as fast as without"
    print(f"  time per output token {told(found.tpot)}{faster}")
    weights, cache = scalar(found.weights), scalar(found.kv_cache)
    print(
        f"  the drafter adds {gib(weights)} of weights and {gib(cache)} of cache to each device; lines above are without it"
    )
    whole, room = scalar(e.memory.total) + weights + cache, scalar(e.room)
    if whole > room:
        print(f"  does not fit with the drafter: {gib(whole)} of {gib(room)} that may be used")


def told(time: Time) -> str:
    """The expected time, or where none is known the floor."""
    if time.expected is None:
        return f"{seconds(scalar(time.floor))} (floor)"
    return seconds(scalar(time.expected))
