"""Money and energy on the command line: flags, lines, and where the rates are from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from floorline.cli.command import Given
from floorline.cli.flags import build, of_spec
from floorline.cli.output import scalar
from floorline.costs import Cost, Each, Rates, cost
from floorline.estimates import Estimate
from floorline.specs.workload import Generate, Serve

DEFAULTS = {"price": "the catalogue's, indicative", "power": "the power limit: what it draws at most"}
COST = tuple(replace(f, default=DEFAULTS.get(f.name, f.default)) for f in of_spec(Rates))


def cost_of(e: Estimate, given: Given) -> Cost | None:
    """What a generation costs at the rates of the flags; None for other workloads."""
    return cost(e, build(Rates, given)) if isinstance(e.workload, Generate | Serve) else None


def show_cost(found: Cost | None) -> None:
    """A line of money and one of energy, each with what it assumes, as far as they are known."""
    if found is None:
        return
    rates = found.rates
    if rates.price is not None and found.output_usd is not None:
        given = f"{scalar(rates.price):g} USD/h a device ({found.price_source}), used {scalar(rates.utilisation):.0%}"
        amounts = shares(found.input_usd, found.output_usd, dollars)
        print(f"a million tokens: {amounts}, by the {kind(found.output_usd)} time; {given}")
    if rates.power is not None and found.output_j is not None:
        most = "at most " if found.power_source == "power limit" else ""
        given = f"{scalar(rates.power):g} W a device ({found.power_source}), hosts not counted"
        print(f"energy of a token: {most}{shares(found.input_j, found.output_j, joules)}; {given}")


def shares(read: Each | None, made: Each, told: Callable[[Each], str]) -> str:
    """What tokens that are read and made cost; in a closed loop those that are made pay for both."""
    return f"{told(made)} out, prompts included" if read is None else f"{told(read)} in, {told(made)} out"


def usual(amount: Each) -> float:
    """The expected amount, or where nothing is expected what the serial time makes of it."""
    return scalar(amount.serial if amount.expected is None else amount.expected)


def kind(amount: Each) -> str:
    """Which time that is by."""
    return "serial" if amount.expected is None else "expected"


def dollars(amount: Each) -> str:
    """Money for people.

    >>> dollars(Each(0.0, 1.23456))
    '1.235 USD'
    """
    return f"{usual(amount):.4g} USD"


def joules(amount: Each) -> str:
    """Energy for people."""
    return f"{usual(amount):.3g} J"
