"""Plans in training frameworks' own files: Megatron's arguments, torchtitan's TOML, DeepSpeed's JSON; read and written.

What is in a file is told by its content, not by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from floorline.errors import BadInput
from floorline.plan_files import deepspeed, megatron, megatron_writer, torchtitan, torchtitan_writer
from floorline.plan_files.plan_file import PlanFile, Texts, Written

Reader = Callable[[str, Texts, float | None], PlanFile]
READERS: dict[str, Reader] = {"megatron": megatron.read, "torchtitan": torchtitan.read, "deepspeed": deepspeed.read}
WRITERS: dict[str, Callable[[Texts, float | None], Written]] = {
    "megatron": megatron_writer.write,
    "torchtitan": torchtitan_writer.write,
    "deepspeed": deepspeed.write,
}
MARKS = (
    ("deepspeed", re.compile(r"\A\s*\{")),
    ("torchtitan", re.compile(r"^\s*\[{1,2}[A-Za-z_][\w.]*\]{1,2}\s*(#.*)?$", re.MULTILINE)),
    ("megatron", re.compile(r"(?:^|[\s\"'(])--[A-Za-z]")),
    ("megatron", re.compile(r"^\s*[A-Za-z][\w-]*\s*:(\s|$)", re.MULTILINE)),
)
"""What tells one format from another, the first that is found."""
LARGEST = 4_000_000
"""Characters of the longest file that is read."""


def form_of(text: str) -> str:
    """Which format a text is in.

    raises BadInput where it is in none

    >>> form_of("--num-layers 96"), form_of("[training]"), form_of("{}")
    ('megatron', 'torchtitan', 'deepspeed')
    """
    for form, mark in MARKS:
        if mark.search(text):
            return form
    raise BadInput(
        f"{text.strip()[:30]!r} is no plan; expected Megatron arguments (--tensor-model-parallel-size 8 …), torchtitan's TOML or "
        "DeepSpeed's JSON"
    )


def read_plan(text: str, given: Texts | None = None, layers: float | None = None) -> PlanFile:
    """The plan in a framework's own file.

    given   flags of the command line, which win: what follows from several numbers is computed with them
    layers  of the model, where it is known: shares of layers and chunks of stages are numbers of layers in these files

    raises BadInput for a text in no format, or a value that makes no sense

    >>> read_plan("--tensor-model-parallel-size 8 --micro-batch-size 2 --bf16").flags["tp"]
    '8'
    """
    if len(text) > LARGEST:
        raise BadInput(f"the file has {len(text):,} characters; expected a plan of at most {LARGEST:,}")
    return READERS[form_of(text)](text, given or {}, layers)


def write_plan(form: str, flags: Texts, layers: float | None = None) -> Written:
    """A plan as a framework's own file.

    form    megatron, torchtitan or deepspeed
    flags   texts by field (``plan_file.texts``)
    layers  of the model, where it is known

    raises BadInput for another format

    >>> write_plan("megatron", {"tp": "8", "seq_len": "2048"}).text.splitlines()[2:4]
    ['    --tensor-model-parallel-size 8', '    --seq-length 2048']
    """
    if form not in WRITERS:
        raise BadInput(f"--as is {form[:40]!r}; expected one of {', '.join(WRITERS)}")
    return WRITERS[form](flags, layers)
