"""The software that runs a model: whose kernels, how the host starts them, and its own time for each step. No formulas."""

from __future__ import annotations

from dataclasses import dataclass, field

from floorline.num import Num
from floorline.specs.fields import check, choice, spec
from floorline.specs.footprint import Footprint

LAUNCHES = ("graph", "compiled", "eager")
EXCHANGES = ("dispatch", "combine")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the expected time assumes of the software. Every default is an assumption with a source, in ``catalogue/engines.toml``.

    name     of the catalogue, or one's own
    until    last version that it stands for, such as (0, 9); () for the newest
    title    for people
    kernels  whose kernels are taken where calibrations tell engines apart, as tables of kernels name it; "" for the median
    exchanges  kernels that bring tokens to experts, as the tables name them: for prompts, and for single tokens
    footprint  how it uses memory beside weights, keys and values
    sources  references of the figures

    >>> Engine().launch
    'graph'
    """

    name: str = "any"
    title: str = "kernels of the median engine, in a captured graph"
    until: tuple[int, ...] = ()
    kernels: str = ""
    known: str = choice(
        "whether it stands for itself, or for software that the catalogue does not have", ("yes", "no"), "yes"
    )
    makes: str = choice("what it makes: text, or pictures and videos from noise", ("text", "pictures"), "text")
    launch: str = choice("how the host starts kernels: in a captured graph, compiled, or one by one", LAUNCHES, "graph")
    starts: str = choice(
        "what the host starts, where no graph does: fused kernels, or each operator",
        ("kernels", "operators"),
        "kernels",
    )
    runs_ahead: str = choice(
        "whether the host runs ahead of the device, or waits for it in each layer, or where weights are FP8",
        ("yes", "no", "not in fp8"),
        "yes",
    )
    graph_len: Num = spec("longest context that a captured graph holds", default=1e9, most=1e9)
    grows_cache: str = choice(
        "whether tokens are added to the cache in place or by copying all of it", ("in place", "copying"), "in place"
    )
    all_reduce: str = choice(
        "whether it sums over a node's devices by kernels of its own, or by the library's", ("own", "library"), "own"
    )
    prefill_fusion: str = choice(
        "operators of a prompt that are one launch, where no other assumption is made", ("", "unfused", "flash"), ""
    )
    lays_out: str = choice(
        "whether kernels of their own lay heads out for attention that is not one launch",
        ("in place", "copying"),
        "in place",
    )
    score_passes: Num = spec(
        "times that such attention goes over its scores beside the softmax: to scale, to mask",
        default=0,
        least=0,
        most=100,
    )
    attention_forward: Num = spec(
        "time of its attention of whole sequences over that of the measured kernels of its engine",
        default=1.0,
        least=0.1,
        most=10.0,
        whole=False,
    )
    attention_backward: Num = spec(
        "time of the backward pass of attention over that of the forward pass", default=2.5, most=20.0, whole=False
    )
    attention: str = choice(
        "generation of its attention of whole sequences; left out: as the measured kernels of its engine",
        ("", "flash-1", "triton", "flash-2", "newest"),
        "",
    )
    sustained: str = choice(
        "whether kernels follow one another for seconds, with the clocks and caches of that, or take what they take alone",
        ("no", "yes"),
        "no",
    )
    passes: str = choice(
        "whether each element-wise operator is one launch, or goes over its tensors as often as a framework writes it",
        ("one", "apart"),
        "one",
    )
    packs: str = choice(
        "heads of which decode attention takes all queries at once: all, none, or those 128 wide in groups of 8",
        ("all", "none", "128x8"),
        "all",
    )
    repeats_heads: str = choice(
        "whether keys and values are copied for each query head that shares them", ("no", "yes"), "no"
    )
    splits: str = choice("whether decode attention cuts a long cache into parts", ("yes", "no"), "yes")
    quantises: str = choice(
        "whether kernels of their own make narrow inputs of matmuls, or the kernel before",
        ("apart", "fused"),
        "apart",
    )
    experts: str = choice("formats of experts that it has kernels for", ("all", "wide"), "all")
    element_wise: str = choice(
        "whose kernels do element-wise work: vLLM's of 2024, as measured, or a compiler's, which take a launch and their traffic",
        ("measured", "generated"),
        "measured",
    )
    sampling: str = choice(
        "how it chooses a token: the likeliest, or by sorting the vocabulary (top-p)", ("greedy", "sort"), "greedy"
    )
    prompts: str = choice(
        "whether prompts join the steps of running requests, or run alone while those wait",
        ("joined", "alone"),
        "joined",
    )
    max_num_seqs: Num = spec("requests that run at once, at most, on each data-parallel rank", default=1024, most=1e7)
    reserves: str = choice(
        "memory that a request takes as it begins: for its whole length, or as tokens are made",
        ("whole", "made"),
        "made",
    )
    memory_share: Num = spec(
        "share of a device's memory that it uses, as --gpu-memory-utilization",
        default=0.9,
        least=1e-3,
        most=1.0,
        whole=False,
    )
    launch_time: Num = spec(
        "what the host takes to start a kernel, where it starts each",
        unit="s",
        default=0.0,
        least=0.0,
        most=1.0,
        whole=False,
    )
    step_time: Num = spec(
        "the engine's own time for each step, beside its kernels",
        unit="s",
        default=0.0,
        least=0.0,
        most=10.0,
        whole=False,
    )
    footprint: Footprint = field(default_factory=Footprint)
    exchanges: tuple[str, str] = ("", "")
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)

    def exchange(self, kind: str, decoding: bool) -> str:
        """The kernels of a kind of message that brings tokens to experts or back; "" for other kinds.

        >>> Engine(exchanges=("ht", "ll")).exchange("dispatch", decoding=True)
        'll'
        """
        return self.exchanges[int(decoding)] if kind in EXCHANGES else ""
