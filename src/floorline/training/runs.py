"""What a whole run costs: days, device-hours, money, energy; beside it what 6ND and Chinchilla say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.formulas.runs import available_share, chinchilla_tokens, run_seconds
from floorline.formulas.training import six_n_d
from floorline.num import Num
from floorline.phases import Time
from floorline.result import Result
from floorline.specs.run import Run
from floorline.training.estimate import TrainingEstimate


@dataclass(frozen=True)
class RunCost(Result):
    """A run.

    tokens          of it [-]
    steps           optimizer steps [-]
    available       share of the time in which the devices train [-]
    seconds         from start to end, by each kind of time [s]
    days            expected, or by the serial sum where nothing is expected [d]
    device_hours    of all devices in that time [h]
    usd, joules     None where no price or power is known
    six_n_d         arithmetic by 6ND; nan of a diffusion model [FLOP]
    chinchilla_tokens  that a model of this size should see; nan of a diffusion model [-]
    """

    tokens: Num
    steps: Num
    available: Num
    seconds: Time
    days: Num
    device_hours: Num
    usd: Num | None
    joules: Num | None
    six_n_d: Num
    chinchilla_tokens: Num


def whole_run(e: TrainingEstimate, run: Run) -> RunCost | None:
    """A run of many steps; None where no tokens are asked for."""
    if run.tokens is None:
        return None
    devices = e.parallelism.devices
    share = available_share(devices, run.between_failures, run.lost_time)
    steps = run.tokens / e.tokens
    times = Time.made(lambda step: run_seconds(run.tokens, e.tokens / step, share), e.step_time)  # type: ignore[arg-type]
    hours = times.usual / 3600.0 * devices
    device = e.cluster.accelerator
    price = device.price if run.price is None else run.price
    power = device.tdp if run.power is None else run.power
    parameters, is_text = e.model.parameter_count(), e.model.latent is None  # both formulas are of language models
    return RunCost(
        tokens=run.tokens,
        steps=steps,
        available=share,
        seconds=times,
        days=times.usual / 86400.0,
        device_hours=hours,
        usd=None if price is None else hours * price,
        joules=None if power is None else hours * 3600.0 * power,
        six_n_d=six_n_d(parameters.active_per_token, run.tokens) if is_text else np.nan,
        chinchilla_tokens=chinchilla_tokens(parameters.total) if is_text else np.nan,
    )
