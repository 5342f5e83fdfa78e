"""What is asked of a model: a training step, a prefill, a decode step, a whole generation. Frozen, no formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floorline.errors import BadInput
from floorline.num import Num, all_true
from floorline.specs.fields import (
    PIXELS,
    TOKENS,
    cached,
    check,
    choice,
    frames,
    height,
    sequences,
    source,
    spec,
    target,
    text_tokens,
    width,
)


@dataclass(frozen=True, kw_only=True)
class Train:
    """One optimizer step over ``global_batch`` sequences, ``micro_batch`` at a time on each data-parallel rank.

    >>> Train(micro_batch=1, global_batch=8, seq_len=1024).seq_len
    1024.0
    """

    micro_batch: Num = spec(
        "sequences in one micro-batch, on each data-parallel rank", aliases=("--micro-batch-size",), default=1
    )
    global_batch: Num = spec(
        "sequences in one optimizer step, over all ranks", aliases=("--global-batch-size",), default=1
    )
    seq_len: Num = spec(
        "tokens in a sequence; of a diffusion model, left out",
        aliases=("--seq-len", "--seq-length"),
        default=0,
        least=0,
        most=TOKENS,
    )
    decoder_len: Num = target()
    height: Num | None = height()
    width: Num | None = width()
    frames: Num | None = frames()
    text_tokens: Num | None = text_tokens()

    def __post_init__(self) -> None:
        check(self)
        if not all_true(np.mod(self.global_batch, self.micro_batch) == 0.0):
            raise BadInput(
                f"micro_batch {self.micro_batch} does not divide global_batch {self.global_batch}; expected a whole number of "
                "micro-batches"
            )


@dataclass(frozen=True, kw_only=True)
class Prefill:
    """One forward pass over whole prompts.

    >>> Prefill(batch=1, prompt_len=1024).logits
    'last'
    """

    batch: Num = sequences()
    prompt_len: Num = spec("tokens of the prompt", aliases=("--input-len", "--isl"), most=TOKENS)
    cached_len: Num = cached()
    source_len: Num = source()
    logits: str = choice("positions whose logits are computed", ("last", "all"), "last")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Decode:
    """One token for each sequence, with ``context_len`` tokens already in the cache: attention sees one more.

    >>> Decode(batch=8, context_len=2047).batch
    8.0
    """

    batch: Num = sequences()
    context_len: Num = spec("tokens in the cache before this one", aliases=("--context-len",), least=0, most=TOKENS)
    source_len: Num = source()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Generate:
    """A static batch from prompt to last token: the prefill gives the first token, each decode step one more.

    >>> Generate(prompt_len=1024, output_len=256).batch
    1.0
    """

    batch: Num = sequences()
    prompt_len: Num = spec("tokens of the prompt", aliases=("--input-len", "--isl"), default=1024, most=TOKENS)
    output_len: Num = spec("tokens to generate", aliases=("--output-len", "--osl"), default=128, most=1e6)
    cached_len: Num = cached()
    source_len: Num = source()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Encode:
    """One forward pass that generates nothing: an encoder, both sides of an encoder–decoder, pictures.

    >>> Encode(seq_len=512).decoder_len
    128.0
    """

    batch: Num = spec("sequences (or pictures) at once", aliases=("--batch-size",), default=1)
    seq_len: Num = spec(
        "tokens that the encoder reads", aliases=("--seq-len", "--seq-length"), default=512, most=TOKENS
    )
    decoder_len: Num = target()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Serve:
    """A closed loop: so many requests always in flight, each replaced by a new one when it ends.

    >>> Serve(concurrency=64, prompt_len=1024, output_len=256).cached_len
    0.0
    """

    concurrency: Num | None = spec(
        "requests in flight, over all replicas; left out: as many as fit", aliases=("--max-concurrency",), default=None
    )
    prompt_len: Num = spec("tokens of a prompt", aliases=("--input-len", "--isl"), default=1024, most=TOKENS)
    output_len: Num = spec("tokens to generate", aliases=("--output-len", "--osl"), default=128, least=2, most=1e6)
    cached_len: Num = cached()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Denoise:
    """Pictures or videos from noise: a text is encoded, a transformer takes ``steps`` steps, a decoder makes pixels.

    What is left out is what the model's pipeline has where nothing is said.

    >>> Denoise(height=1024, width=1024, passes=2).batch
    1.0
    """

    batch: Num = spec("pictures or videos at once", aliases=("--batch-size",), default=1)
    height: Num | None = height()
    width: Num | None = width()
    frames: Num | None = frames()
    steps: Num | None = spec("denoising steps", aliases=("--steps", "--num-inference-steps"), default=None, most=PIXELS)
    passes: Num | None = spec(
        "forward passes of a step: 2 with classifier-free guidance, 1 without it or with guidance distilled into the model",
        aliases=("--guidance-passes", "--cfg-passes"),
        default=None,
        most=10,
    )
    text_tokens: Num | None = text_tokens()
    reused: Num = spec(
        "share of the steps that take an earlier one's result instead (step caching)",
        aliases=("--reused-steps",),
        default=0,
        least=0,
        most=0.99,
        whole=False,
    )
    offload: str = choice(
        "what waits in the host's memory: nothing, models that are not at work, or every layer until its turn",
        ("none", "model", "layers"),
        "none",
        aliases=("--offload",),
    )
    tiling: str = choice(
        "whether the decoder makes a picture tile by tile", ("no", "yes"), "no", aliases=("--tiling", "--vae-tiling")
    )

    def __post_init__(self) -> None:
        check(self)


Workload = Train | Prefill | Decode | Generate | Serve | Encode


def source_tokens(workload: Workload) -> Num:
    """Tokens that the encoder reads, in encoder–decoder models.

    >>> source_tokens(Decode(context_len=3, source_len=512)), source_tokens(Encode(seq_len=100))
    (512.0, 100.0)
    """
    if isinstance(workload, Serve):
        return 0.0
    return workload.seq_len if isinstance(workload, Encode | Train) else workload.source_len


def decoder_tokens(workload: Workload) -> Num:
    """Tokens of a sequence on the decoder's side at the end of the workload, in encoder–decoder models.

    >>> decoder_tokens(Encode(seq_len=512))
    128.0
    """
    return workload.decoder_len if isinstance(workload, Encode | Train) else longest(workload)


def fewest_tokens(workload: Workload) -> Num:
    """Tokens of a sequence that a context-parallel plan has to share out: of a prompt, of a context, of an input."""
    if isinstance(workload, Decode):
        return workload.context_len + 1.0
    return workload.prompt_len if isinstance(workload, Prefill | Generate | Serve) else workload.seq_len


def longest(workload: Workload) -> Num:
    """Tokens of a sequence at the end of the workload."""
    if isinstance(workload, Generate | Serve):
        return workload.cached_len + workload.prompt_len + workload.output_len
    if isinstance(workload, Prefill):
        return workload.cached_len + workload.prompt_len
    if isinstance(workload, Decode):
        return workload.context_len + 1.0
    return workload.seq_len
