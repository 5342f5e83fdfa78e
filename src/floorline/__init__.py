"""Floorline: how long a transformer takes, how much memory it needs, what bounds it, and why, before hardware is rented."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from floorline.balances import balance as balance
    from floorline.capacity import fit as fit
    from floorline.catalogue.clusters import load_cluster as load_cluster
    from floorline.catalogue.load import load_model as load_model
    from floorline.catalogue.pipelines import load_pipeline as load_pipeline
    from floorline.costs import Rates as Rates
    from floorline.costs import cost as cost
    from floorline.counts import count as count
    from floorline.crossings import crossing as crossing
    from floorline.errors import FloorlineError as FloorlineError
    from floorline.estimates import estimate as estimate
    from floorline.module_counts import count_modules as count_modules
    from floorline.perceptrons import count_perceptron as count_perceptron
    from floorline.plan_search import Choices as Choices
    from floorline.plan_search import plans as plans
    from floorline.specs.accelerator import Accelerator as Accelerator
    from floorline.specs.accelerator import Link as Link
    from floorline.specs.assumptions import Assumptions as Assumptions
    from floorline.specs.cluster import Cluster as Cluster
    from floorline.specs.denoise_plan import DenoisePlan as DenoisePlan
    from floorline.specs.engine import Engine as Engine
    from floorline.specs.module_sizes import ModuleSizes as ModuleSizes
    from floorline.specs.parallelism import Parallelism as Parallelism
    from floorline.specs.precision import Precision as Precision
    from floorline.specs.recipe import Recipe as Recipe
    from floorline.specs.trainer import Trainer as Trainer
    from floorline.specs.workload import Decode as Decode
    from floorline.specs.workload import Denoise as Denoise
    from floorline.specs.workload import Encode as Encode
    from floorline.specs.workload import Generate as Generate
    from floorline.specs.workload import Prefill as Prefill
    from floorline.specs.workload import Serve as Serve
    from floorline.specs.workload import Train as Train
    from floorline.speculation import Speculation as Speculation
    from floorline.speculation import speculate as speculate
    from floorline.splits import count_splits as count_splits
    from floorline.sweeps import sweep as sweep
    from floorline.training.scaling_curve import scale as scale
    from floorline.training.utilisation import mfu as mfu
    from floorline.validation.report import validate as validate
    from floorline.waterfalls import waterfall as waterfall

PUBLIC = {
    "load_cluster": "catalogue.clusters",
    "load_model": "catalogue.load",
    "count": "counts",
    "count_modules": "module_counts",
    "count_perceptron": "perceptrons",
    "count_splits": "splits",
    "crossing": "crossings",
    "ModuleSizes": "specs.module_sizes",
    "FloorlineError": "errors",
    "estimate": "estimates",
    "fit": "capacity",
    "plans": "plan_search",
    "Choices": "plan_search",
    "Accelerator": "specs.accelerator",
    "Cluster": "specs.cluster",
    "Engine": "specs.engine",
    "Link": "specs.accelerator",
    "Assumptions": "specs.assumptions",
    "Parallelism": "specs.parallelism",
    "Precision": "specs.precision",
    "Recipe": "specs.recipe",
    "Trainer": "specs.trainer",
    "Decode": "specs.workload",
    "Denoise": "specs.workload",
    "DenoisePlan": "specs.denoise_plan",
    "Encode": "specs.workload",
    "load_pipeline": "catalogue.pipelines",
    "Generate": "specs.workload",
    "Prefill": "specs.workload",
    "Serve": "specs.workload",
    "Train": "specs.workload",
    "speculate": "speculation",
    "Speculation": "speculation",
    "cost": "costs",
    "Rates": "costs",
    "balance": "balances",
    "waterfall": "waterfalls",
    "sweep": "sweeps",
    "validate": "validation.report",
    "mfu": "training.utilisation",
    "scale": "training.scaling_curve",
}
"""Public name → module; each is imported when it is first asked for, so that a short question has a quick answer."""

__all__ = [*PUBLIC, "__version__"]


def __getattr__(name: str) -> object:
    if name not in PUBLIC:
        raise AttributeError(
            f"module 'floorline' has no attribute {name!r}; its public names are {', '.join(sorted(PUBLIC))}"
        )
    found = getattr(import_module(f"floorline.{PUBLIC[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
