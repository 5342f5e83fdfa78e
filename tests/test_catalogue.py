"""The catalogue of models: they count what was published and are found by any name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import floorline
from floorline import load_model
from floorline.catalogue.audit import audit
from floorline.catalogue.load import from_catalogue, model_entry
from floorline.catalogue.spelling import INDEX, aliases, find, names, plain, spellings, text
from terminal import ask, run

Entry = dict[str, Any]

HERE = Path(floorline.__file__).parent / "catalogue"
MODELS: dict[str, Entry] = {
    p.stem: json.loads(p.read_text()) for p in sorted((HERE / "models").glob("*.json")) if p != INDEX
}
PUBLISHED = 209
"""Models whose publishers give a count to the last digit, all of them recomputed."""

NO_SOURCE = {"command-r-08-2024", "command-r-plus-104b"}
"""Models of which no public configuration was read: their published count alone says that the sizes are right."""

IN_A_NAME = re.compile(r"-(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?=-|$)")
"""Billions or millions in a name, perhaps times the experts."""


# Models


@pytest.mark.parametrize("name", MODELS)
def test_model_file(name: str) -> None:
    """A name like its file, a source that can be opened, and no key that nobody reads."""
    entry = MODELS[name]
    assert set(entry) - {"published_difference", "pipeline"} == {
        "name",
        "aliases",
        "published_parameters",
        "source",
        "note",
        "config",
    }
    assert entry["name"] == name == name.lower()
    assert entry["source"]
    assert all(alias == alias.lower() and alias.count("/") <= 1 and " " not in alias for alias in entry["aliases"])
    assert not any(key.endswith("_token_id") or key == "initializer_range" for key in entry["config"])
    if not name.startswith("textbook"):
        assert re.search(r"@(?:[0-9a-f]{12}|v5\.23\.0)$", entry["source"]) or name in NO_SOURCE


@pytest.mark.parametrize("name", MODELS)
def test_model_counts_what_was_published(name: str) -> None:
    """Exactly, but for a difference that the entry states, and from its configuration alone."""
    entry = MODELS[name]
    found = load_model(name).parameter_count()
    if entry["published_parameters"] is not None:
        stated = entry.get("published_difference", {"parameters": 0})
        assert found.total == entry["published_parameters"] + stated["parameters"]
    assert found.total == sum(m.parameters for m in found.modules)
    assert load_model(entry["config"]).parameter_count() == found
    assert load_model(entry["config"]).format == load_model(name).format


def test_published_models_are_there() -> None:
    """No model loses its published count silently."""
    assert sum(entry["published_parameters"] is not None for entry in MODELS.values()) == PUBLISHED


def test_published_difference_has_a_reason() -> None:
    """A count that differs by convention says by how much and why."""
    for entry in MODELS.values():
        stated = entry.get("published_difference")
        assert stated is None or (stated["parameters"] != 0 and len(stated["reason"]) > 20)


@pytest.mark.parametrize("name", MODELS)
def test_model_is_found_by_every_name(name: str) -> None:
    """Whatever the case, with spaces or underscores, and by a hub id without its organisation."""
    for alias in (name, *MODELS[name]["aliases"]):
        spelt = {
            alias,
            alias.upper(),
            alias.replace("-", " ").title(),
            alias.replace("-", "_"),
            alias.rpartition("/")[2],
        }
        assert {find(each) for each in spelt} == {name}
    assert load_model(name.replace("-", " ").title()).name == name


def test_model_names_are_unique() -> None:
    """A name is one model, however it is spelt."""
    known = [(name, name) for name in MODELS]
    known += [(alias, name) for name, entry in MODELS.items() for alias in entry["aliases"]]
    owners: dict[str, set[str]] = {}
    for spelt, name in known:
        owners.setdefault(plain(spelt), set()).add(name)
    assert [key for key, found in owners.items() if len(found) > 1] == []
    assert len(known) == len({alias for alias, _ in known})


def test_index_is_current() -> None:
    """What finds an alias is what the entries say; `python -m floorline.catalogue.spelling` writes it."""
    assert INDEX.read_text() == text()


def test_a_name_reads_one_entry_and_an_alias_the_index_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is opened to find another one."""
    opened: list[str] = []
    read = Path.read_text

    def record(path: Path, *args: Any, **more: Any) -> str:
        opened.append(path.name)
        return read(path, *args, **more)

    for cached in (names, aliases, spellings, model_entry, from_catalogue):
        cached.cache_clear()
    monkeypatch.setattr(Path, "read_text", record)
    load_model("llama-3.1-8b")
    assert opened == ["llama-3.1-8b.json"]
    load_model("Qwen/Qwen2.5-7B-Instruct")
    assert opened == ["llama-3.1-8b.json", "index.json", "qwen2.5-7b.json"]


def test_a_folder_comes_before_an_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id's folder that holds a configuration is that one; one that holds none is no model."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "openai-community" / "gpt2"
    folder.mkdir(parents=True)
    assert load_model("openai-community/gpt2").source == MODELS["gpt2"]["source"]
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 1}))
    assert load_model("openai-community/gpt2").source.endswith("config.json")
    assert load_model("gpt2").source == MODELS["gpt2"]["source"]


@pytest.mark.parametrize("name", [name for name in MODELS if IN_A_NAME.search(name)])
def test_models_are_of_their_class(name: str) -> None:
    """The billions (or millions) in a name are those of the count, as far as names round: experts share, small ones grow."""
    said = IN_A_NAME.search(name)
    assert said is not None
    size = int(said[1] or 1) * float(said[2]) * {"b": 1e9, "m": 1e6}[said[3]]
    size *= 7 if name == "olmoe-1b-7b" else 1  # the active ones come first in its name
    assert 0.79 < load_model(name).parameter_count().total / size < 1.49


def test_audit() -> None:
    """Nothing is wrong with the catalogue; what differs by convention is said and explained."""
    findings = audit(MODELS.values())
    assert [f for f in findings if f.wrong] == []
    assert {f.model for f in findings if f.difference} == {"deepseek-v3", "kimi-k2"}
    assert sum(f.published is not None for f in findings) == PUBLISHED


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"published_parameters": 124439807}, "not the stated difference of +0"),
        ({"published_parameters": 124439807, "published_difference": {"parameters": 2, "reason": "two"}}, "of +2"),
        ({"source": ""}, "no source"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"aliases": ["meta-llama/Llama_3.1-8B"]}, "is of llama-3.1-8b too"),
        ({"aliases": ["nobody/knows"]}, "not in the index"),
    ],
)
def test_audit_finds(change: Entry, says: str) -> None:
    """Every kind of mistake."""
    wrong = [f for f in audit([{**MODELS["gpt2"], **change}]) if f.wrong]
    assert len(wrong) == 1
    assert says in wrong[0].reason


def test_audit_misses_nothing() -> None:
    """A key left out is said, too."""
    entry = {key: value for key, value in MODELS["gpt2"].items() if key != "note"}
    assert [f.reason for f in audit([entry]) if f.wrong] == ["the key 'note' is missing"]


def test_audit_command() -> None:
    """A table of what differs, or JSON with every count; a note says what was compared."""
    printed = run("models", "DeepSeek V3", "--audit")
    assert printed.status == 0
    assert "-14 848" in printed.out
    assert "with a stated difference (tolerance 0 parameters)" in printed.err
    answer = ask("models", "--audit")
    assert answer["summary"] == {
        "models": len(MODELS),
        "published": PUBLISHED,
        "equal": PUBLISHED - 2,
        "explained": 2,
        "wrong": 0,
        "tolerance_parameters": 0,
    }
    assert {f["model"] for f in answer["findings"]} == set(MODELS)


def test_audit_command_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is printed, then said in one line, with a status of its own."""
    monkeypatch.setitem(MODELS["gpt2"], "published_parameters", 1)
    monkeypatch.setattr("floorline.cli.models.model_entry", MODELS.__getitem__)
    printed = run("models", "openai-community/gpt2", "--audit")
    assert printed.status == 4
    assert "not the stated difference of +0" in printed.out
    assert "4 models" in printed.err
    assert "correct the entry" in printed.err
