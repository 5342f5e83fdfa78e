"""Generated pages are what their script writes today, and their links lead somewhere."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from floorline.catalogue.references import references

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
PAGES = runpy.run_path(str(ROOT / "docs" / "make.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python3 dev.py python docs/make.py` writes them; runs are priced once for all tests."""
    if name == "accuracy.md":
        files = ("inference", "encoder", "training", "diffusion")
        priced = {each: request.getfixturevalue(f"{each}_runs") for each in files}
        monkeypatch.setattr(sys.modules["measured_runs"], "validation", priced.__getitem__)
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name]()


def test_links_to_references() -> None:
    text = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"references\.md#([\w.-]+)", text))
    assert linked <= set(references())
    assert len(linked) > 400


def test_sources_outside_have_a_sentence_each() -> None:
    sentences = runpy.run_path(str(ROOT / "docs" / "measured_runs.py"))["sentences"]
    first, second = ("here", "slow 1.0", "t4", "ttft_s"), ("here", "slow 2.0", "t4", "tpot_s")
    about = {"source": "here", "software": "slow", "missing": "why"}
    assert sentences([first, second], [about]) == [1, 1]
    with pytest.raises(SystemExit, match=r"no sentence about here \| slow 2.0"):
        sentences([first, second], [{**about, "metric": "ttft_s"}])
    with pytest.raises(SystemExit, match="no runs are outside"):
        sentences([first], [about, {**about, "accelerator": "v100"}])
