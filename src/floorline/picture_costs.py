"""What a picture or a video costs: money and energy of the devices that make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from floorline.costs import Each, Rates, each, source
from floorline.denoising.estimate import DenoiseEstimate
from floorline.formulas.cost import dollars_per_million_tokens, energy_per_token
from floorline.result import Result


@dataclass(frozen=True)
class PictureCost(Result):
    """What one picture or video costs.

    rates         of a device, the catalogue's where nothing was said
    price_source  "given", or "catalogue, 2026-05"; "" where no price is known
    power_source  "given", or "power limit": what the device draws at most; "" where it is not known
    usd           of one [USD]
    joules        of one [J]
    """

    rates: Rates
    price_source: str = ""
    power_source: str = ""
    usd: Each | None = None
    joules: Each | None = None

    def answer(self) -> Mapping[str, Any]:
        """Money and energy with what they assume."""
        return {
            "price_usd_per_device_hour": self.rates.price,
            "price_source": self.price_source or None,
            "utilisation": self.rates.utilisation,
            "usd_per_picture": self.usd,
            "power_w_per_device": self.rates.power,
            "power_source": self.power_source or None,
            "joules_per_picture": self.joules,
        }


def picture_cost(e: DenoiseEstimate, rates: Rates | None = None) -> PictureCost:
    """Money and energy of one picture or video.

    rates  of a device; what it leaves out is the catalogue's: an indicative price, and the power limit, which nothing exceeds

    >>> import floorline
    >>> found = picture_cost(floorline.estimate("flux.1-dev", floorline.Denoise(steps=28), "h100-sxm"), Rates(price=3.6))
    >>> bool(abs(found.usd.expected / found.usd.floor - found.joules.expected / found.joules.floor) < 1e-9)
    True
    """
    asked, device = rates or Rates(), e.cluster.accelerator
    price = device.price if asked.price is None else asked.price
    power = device.tdp if asked.power is None else asked.power
    made = Rates(price=price, power=power, utilisation=asked.utilisation)
    devices, pictures = e.plan.devices, e.workload.batch
    usd = joules = None
    if price is not None:
        shared = {"tokens": pictures * 1e6, "utilisation": made.utilisation}
        usd = each(e.latency, partial(dollars_per_million_tokens, devices, price, **shared))
    if power is not None:
        joules = each(e.latency, partial(energy_per_token, devices, power, tokens=pictures))
    told = (source(device, "price", asked.price), source(device, "tdp", asked.power))
    return PictureCost(made, *told, usd, joules)
