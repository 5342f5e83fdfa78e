"""Test settings: FLOORLINE_NO_SKIP=1 turns every skipped test into a failed one, as .ci/run wants.

Hypothesis tries the same examples every time, so that a change is judged by what it changed; set
``HYPOTHESIS_PROFILE=search`` to look for new ones.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from floorline.validation.report import Validation, validate

CASES = Path(__file__).parents[1] / "validation" / "cases"

settings.register_profile("repeat", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def failed_if_skipped(report: Report) -> Report:
    """The report, failed where it says skipped; an expected failure stays as it is."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: FLOORLINE_NO_SKIP is set and this was skipped: {reason}"
    return report


class NoSkip:
    """A plugin rather than plain hooks, so that it reaches the doctests under src too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        return failed_if_skipped((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        return failed_if_skipped((yield))


def pytest_configure(config: pytest.Config) -> None:
    """Registers the plugin where the environment asks for it."""
    if os.environ.get("FLOORLINE_NO_SKIP", "0") not in ("", "0"):
        config.pluginmanager.register(NoSkip(), "floorline-no-skip")


@pytest.fixture(scope="session")
def inference_runs() -> Validation:
    """All measured runs of inference against what is expected of them, once for all tests."""
    return validate(CASES / "inference.csv")


@pytest.fixture(scope="session")
def encoder_runs() -> Validation:
    """The same of encoders."""
    return validate(CASES / "encoder.csv")


@pytest.fixture(scope="session")
def training_runs() -> Validation:
    """The same of training."""
    return validate(CASES / "training.csv")


@pytest.fixture(scope="session")
def diffusion_runs() -> Validation:
    """The same of pictures and videos."""
    return validate(CASES / "diffusion.csv")
