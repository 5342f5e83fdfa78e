"""How the work is split over devices. Degrees are numbers; which letters a split cuts is static (see ``parallel/``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from floorline.num import Num
from floorline.specs.fields import check, choice, spec

DEVICES = 1e7
SCHEDULES = ("1f1b", "gpipe", "zero-bubble-1p", "zero-bubble-2p", "v-half", "dualpipe")


@dataclass(frozen=True, kw_only=True)
class Parallelism:
    """Degrees and kinds of a plan; the default is one device.

    >>> Parallelism(tp=8).devices
    8.0
    """

    tp: Num = spec("tensor-parallel ranks", aliases=("--tensor-parallel-size", "--tp"), default=1, most=DEVICES)
    dp: Num = spec("data-parallel ranks", aliases=("--data-parallel-size", "--dp"), default=1, most=DEVICES)
    cp: Num = spec("context-parallel ranks", aliases=("--context-parallel-size", "--cp"), default=1, most=DEVICES)
    pp: Num = spec("pipeline stages", aliases=("--pipeline-parallel-size", "--pp"), default=1, most=DEVICES)
    ep: Num = spec(
        "ranks that share the experts, of the tensor- and then of the data-parallel ones",
        aliases=("--expert-parallel-size", "--ep"),
        default=1,
        most=DEVICES,
    )
    sequence_parallel: str = choice(
        "split norms and residuals by tokens over the tensor-parallel ranks", ("no", "yes"), "no"
    )
    context: str = choice(
        "how context parallelism joins: gather keys and values, or all-to-all to heads (Ulysses)",
        ("all-gather", "all-to-all"),
        "all-gather",
    )
    virtual_stages: Num = spec(
        "chunks of layers on each pipeline stage, in training",
        aliases=("--virtual-stages", "--vpp"),
        default=1,
        most=DEVICES,
    )
    schedule: str = choice(
        "how micro-batches go through the pipeline in training; 1f1b is interleaved where there are virtual stages",
        SCHEDULES,
        "1f1b",
        aliases=("--pipeline-schedule",),
    )
    ends_as_layers: str = choice(
        "whether embedding and head count as a layer each where layers are dealt out to stages", ("no", "yes"), "no"
    )
    shard_ranks: Num | None = spec(
        "data-parallel ranks over which ZeRO shares, the others repeating it (hybrid sharding); left out: all",
        aliases=("--shard-ranks", "--hsdp-shard-size"),
        default=None,
        most=DEVICES,
    )
    zero_stage: str = choice(
        "what data-parallel ranks share out: 1 optimizer state, 2 gradients too, 3 weights too",
        ("0", "1", "2", "3"),
        "0",
    )
    extra: tuple[Any, ...] = field(default=(), metadata={"doc": "further splits (floorline.parallel.split.Extra)"})

    def __post_init__(self) -> None:
        check(self)

    @property
    def devices(self) -> Num:
        """The product of the degrees; those that share experts are counted already."""
        result = self.tp * self.dp * self.cp * self.pp
        for extra in self.extra:
            result = result * extra.devices
        return result
