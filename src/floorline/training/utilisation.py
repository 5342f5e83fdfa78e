"""Utilisation of a measured training run, under each convention of counting its arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from floorline.catalogue.clusters import load_cluster
from floorline.catalogue.load import load_model
from floorline.catalogue.trainers import load_trainer
from floorline.errors import BadInput
from floorline.formulas.scaling import throughput
from floorline.formulas.training import model_flops_utilisation
from floorline.num import Num, all_true, number
from floorline.result import Result, exact
from floorline.specs.cluster import Cluster
from floorline.specs.precision import Precision
from floorline.specs.recipe import Recipe
from floorline.specs.trainer import Trainer
from floorline.specs.workload import Train
from floorline.train_step import resolved
from floorline.training.conventions import Flops, flops
from floorline.training.estimate import training_precision
from floorline.training.software import fusion, with_adapters
from floorline.transformer import Transformer

CONVENTIONS = ("full", "causal", "palm", "six_n_d", "hardware", "hardware_full")
"""Ways of counting; those that begin with "hardware" count what is computed twice, and make HFU."""
BY_PARAMETERS = ("palm", "six_n_d")
"""Those that know parameters and tokens alone: of language models."""


@dataclass(frozen=True, repr=False)
class Utilisation(Result):
    """What a measured step means.

    step_time  measured, or from a measured rate [s]
    flops      of the step over all devices, by convention
    peak       of one device, in the format of the activations [FLOP/s]
    """

    model: Transformer
    workload: Train
    cluster: Cluster
    recipe: Recipe
    step_time: Num
    flops: Flops
    peak: Num

    def __repr__(self) -> str:
        return f"Utilisation({self.model.name}, {self.cluster!r}, {self.of})"

    @property
    def tokens_per_s(self) -> Num:
        """Of all devices [1/s]."""
        return throughput(self.workload.global_batch * self.workload.seq_len, self.step_time)

    @property
    def pictures_per_s(self) -> Num | None:
        """Pictures or videos of a diffusion model, of all devices; None of a language model [1/s]."""
        return None if self.model.latent is None else throughput(self.workload.global_batch, self.step_time)

    @property
    def of(self) -> dict[str, Num]:
        """Share of the peak by convention [-]."""
        return {
            name: model_flops_utilisation(amount, self.step_time, self.peak, self.cluster.devices)
            for name, amount in self.flops.conventions.items()
        }

    @property
    def rates(self) -> dict[str, Num]:
        """What each device does by each convention: what a framework that counts so prints [FLOP/s]."""
        return {
            name: throughput(amount, self.step_time) / self.cluster.devices
            for name, amount in self.flops.conventions.items()
        }

    def answer(self) -> Mapping[str, Any]:
        """The run, and each convention's utilisation and rate."""
        found = self.of
        return {
            "model": self.model,
            "hardware": self.cluster,
            "workload": {"kind": "Train", **exact(self.workload)},
            "recipe": self.recipe,
            "step_time_s": self.step_time,
            "tokens_per_s": self.tokens_per_s,
            "pictures_per_s": self.pictures_per_s,
            "peak": self.peak,
            "mfu": {n: v for n, v in found.items() if not n.startswith("hardware")},
            "hfu": {n: v for n, v in found.items() if n.startswith("hardware")},
            "flops_per_s_per_device": self.rates,
            "flops": self.flops.conventions,
        }


def mfu(
    model: object,
    workload: Train,
    cluster: Cluster | str,
    *,
    devices: Num = 1.0,
    step_time: Num | None = None,
    tokens_per_s: Num | None = None,
    flops_per_s_per_device: Num | None = None,
    counted: str = "full",
    precision: Precision | str | None = None,
    recipe: Recipe | None = None,
    engine: Trainer | str | None = None,
) -> Utilisation:
    """Utilisation of a training run of which a time or a rate was measured.

    model      a Transformer, or what ``load_model`` takes
    workload   of a step
    cluster    from ``load_cluster``, or a name: so many ``devices`` of it
    step_time  measured [s]; or
    tokens_per_s  of all devices [1/s]; or
    flops_per_s_per_device  as a framework prints it [FLOP/s], counted by one of the conventions: ``counted``
    precision  whose activations' format the peak is of
    recipe     recomputation, which HFU counts
    engine     the framework: what it computes of attention's scores again
    raises     BadInput where not exactly one measurement is given, or it is not more than zero, or a diffusion model's is counted
               by parameters and tokens

    >>> from floorline.specs.workload import Train
    >>> nanogpt = {"model_type": "gpt2", "bias": False}
    >>> found = mfu(nanogpt, Train(global_batch=100, seq_len=1024), "a100-sxm-40gb", step_time=0.755)
    >>> round(float(found.of["full"]) * 100.0, 2)
    37.14
    """
    made, trainer, how = load_model(model), load_trainer(engine), recipe or Recipe()
    workload = resolved(made, workload)
    formats = training_precision(precision, trainer, made.format)
    machine = load_cluster(cluster, devices)
    amounts = flops(made, with_adapters(made, how, trainer), workload, formats, how, fusion(trainer))
    measured = {
        "step_time": step_time,
        "tokens_per_s": tokens_per_s,
        "flops_per_s_per_device": flops_per_s_per_device,
    }
    given = {name: number(value) for name, value in measured.items() if value is not None}
    if len(given) != 1:
        raise BadInput(f"{len(given)} of {', '.join(measured)} are given; expected exactly one")
    ((name, value),) = given.items()
    if not all_true((value > 0.0) & (value < 1e30)):
        raise BadInput(f"{name} is {value}; expected more than zero")
    check_convention(made, counted)
    if name == "tokens_per_s":
        value = workload.global_batch * workload.seq_len / value
    if name == "flops_per_s_per_device":
        value = amounts.conventions[counted] / machine.devices / value
    peak = machine.accelerator.peak(formats.activations)
    return Utilisation(made, workload, machine, how, value, amounts, peak)


def check_convention(model: Transformer, counted: str) -> None:
    """Raises BadInput for a way of counting that nobody knows, or that says nothing of a diffusion model."""
    if counted not in CONVENTIONS:
        raise BadInput(f"counted is {counted[:40]!r}; expected one of {', '.join(CONVENTIONS)}")
    if counted in BY_PARAMETERS and model.latent is not None:
        raise BadInput(
            f"counted is {counted!r}, which says nothing of {model.name}, a diffusion model; expected full, causal or hardware"
        )
