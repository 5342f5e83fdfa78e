"""What serving costs: money for a million tokens, energy for one. A prefill is charged to the tokens that it reads, decoding to
those that are made, so that both together are what the batch costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from floorline.estimates import Estimate
from floorline.formulas.cost import dollars_per_million_tokens, energy_per_token
from floorline.num import Num
from floorline.phases import Time
from floorline.result import Result
from floorline.specs.accelerator import Accelerator
from floorline.specs.fields import check, spec
from floorline.specs.workload import Generate, Serve


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a device costs and draws, and how much of the time it is used.

    >>> Rates(price=2.0).utilisation
    1.0
    """

    price: Num | None = spec(
        "what a device costs for an hour, in dollars, such as 2.69",
        unit="USD/h",
        default=None,
        aliases=("--price",),
        least=0.0,
        most=1e6,
        whole=False,
    )
    power: Num | None = spec(
        "what a device draws while it works, such as '500 W'",
        unit="W",
        default=None,
        aliases=("--power",),
        least=0.0,
        most=1e6,
        whole=False,
    )
    utilisation: Num = spec(
        "share of the paid time in which the devices serve such batches",
        default=1.0,
        aliases=("--utilisation", "--utilization"),
        least=1e-6,
        most=1.0,
        whole=False,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Each(Result):
    """An amount by which time: by the floor, the serial sum, and the expected time with its interval.

    floor     by the floor: no engine takes less [same unit]
    serial    by the textbook sum
    expected  by the expected time, with low and high; None where none is known
    """

    floor: Num
    serial: Num
    expected: Num | None = None
    low: Num | None = None
    high: Num | None = None


@dataclass(frozen=True)
class Cost(Result):
    """What a batch costs.

    rates         of a device, the catalogue's where nothing was said
    price_source  "given", or "catalogue, 2026-05"; "" where no price is known
    power_source  "given", or "power limit": what the device draws at most; "" where it is not known
    input_usd     for a million tokens that are read [USD]
    output_usd    for a million tokens that are made [USD]
    input_j, output_j  energy for one of them [J]
    """

    rates: Rates
    price_source: str = ""
    power_source: str = ""
    input_usd: Each | None = None
    output_usd: Each | None = None
    input_j: Each | None = None
    output_j: Each | None = None

    def answer(self) -> Mapping[str, Any]:
        """Money and energy with what they assume."""
        return {
            "price_usd_per_device_hour": self.rates.price,
            "price_source": self.price_source or None,
            "utilisation": self.rates.utilisation,
            "usd_per_million_input_tokens": self.input_usd,
            "usd_per_million_output_tokens": self.output_usd,
            "power_w_per_device": self.rates.power,
            "power_source": self.power_source or None,
            "joules_per_input_token": self.input_j,
            "joules_per_output_token": self.output_j,
        }


def cost(e: Estimate, rates: Rates | None = None) -> Cost:
    """Money and energy of a generation.

    e      of a Generate workload, or of a closed loop (Serve), whose output then pays for its prompts too
    rates  of a device; what it leaves out is the catalogue's: an indicative price, and the power limit, which nothing exceeds

    >>> import floorline
    >>> work = floorline.Generate(batch=8, prompt_len=1000, output_len=100)
    >>> found = cost(floorline.estimate("llama-3.1-8b", work, "h100-sxm"), Rates(price=3.6))
    >>> bool(0.0 < found.input_usd.floor < found.output_usd.floor)
    True
    """
    asked, device = rates or Rates(), e.cluster.accelerator
    price = device.price if asked.price is None else asked.price
    power = device.tdp if asked.power is None else asked.power
    made = Rates(price=price, power=power, utilisation=asked.utilisation)
    devices = e.parallelism.devices
    found: dict[str, Any] = {}
    for name, time, tokens in parts(e):
        if price is not None:
            shared = {"tokens": tokens, "utilisation": made.utilisation}
            found[f"{name}_usd"] = each(time, partial(dollars_per_million_tokens, devices, price, **shared))
        if power is not None:
            found[f"{name}_j"] = each(time, partial(energy_per_token, devices, power, tokens=tokens))
    return Cost(made, source(device, "price", asked.price), source(device, "tdp", asked.power), **found)


def parts(e: Estimate) -> list[tuple[str, Time, Num]]:
    """Time and tokens that are read, by an encoder too, and that are made; one token alone needs no decoding."""
    w = e.workload
    if isinstance(w, Serve):
        return [("output", replace(e.latency, floor=e.least_s), e.output_tokens)]
    assert isinstance(w, Generate)
    assert e.prefill is not None
    reading, whole = e.prefill.time, e.latency
    making = Time.made(lambda all_of_it, read: all_of_it - read, whole, reading)
    read = w.batch * (w.prompt_len + w.source_len)
    return [("input", reading, read), ("output", making, w.batch * w.output_len)]


def each(time: Time, amount: Callable[[Num], Num]) -> Each:
    """An amount by each kind of time."""
    by = Time.made(amount, time)
    return Each(by.floor, by.serial, by.expected, by.low, by.high)


def source(device: Accelerator, figure: str, given: Num | None) -> str:
    """Where a rate is from."""
    if given is not None:
        return "given"
    known = device.figures.get(figure)
    if known is None:
        return "" if getattr(device, figure) is None else "the accelerator's"
    return "power limit" if figure == "tdp" else f"catalogue, {known.get('date', 'undated')}"
