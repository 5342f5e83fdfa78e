"""Memory of encoding or decoding: weights of one network, and the tensors that are alive at once in its largest run."""

from __future__ import annotations

from dataclasses import replace

from floorline.autoencoder import Autoencoder
from floorline.autoencoder_step import NO_PLAN, USUAL, Clip, autoencoder_runs, network
from floorline.convolution import Convolution
from floorline.footprints import framework_bytes
from floorline.letters import Product
from floorline.memory import Memory, activation_bytes, weight_bytes
from floorline.num import Num, largest, number, total, where
from floorline.specs.footprint import Footprint
from floorline.specs.parallelism import Parallelism
from floorline.specs.precision import Precision
from floorline.step import Step
from floorline.tensor import ACTIVATION

TIME, WINDOW = "t", "k"


def autoencoder_memory(
    autoencoder: Autoencoder,
    mode: str,
    clip: Clip,
    *,
    tile: bool = False,
    fusion: str = "flash",
    plan: Parallelism = NO_PLAN,
    precision: Precision = USUAL,
    footprint: Footprint | None = None,
) -> Memory:
    """Memory of one device that encodes or decodes a clip as the library cuts it.

    mode       "encode" or "decode"
    tile       whether large pictures are cut into tiles that overlap
    fusion     which operators keep their insides on chip; the library attends by one fused operator
    footprint  how the software uses memory; default: it adds nothing

    The frames that convolutions keep between runs are its cache. The pictures themselves, those done and those that wait, are not
    in it.

    raises BadInput where a picture is smaller than one latent
    """
    engine = footprint or Footprint()
    runs = autoencoder_runs(autoencoder, mode, clip, tile=tile, plan=plan, precision=precision)
    model, cuts = network(autoencoder, mode)
    step = replace(runs[0][1], model=model)
    return Memory(
        weights=number(weight_bytes(step)),
        kv_cache=number(largest(made(often) * kept_frames(s) for often, s in runs) if cuts.frames.keeps else 0.0),
        activations=number(largest(made(often) * activation_bytes(s, fusion) for often, s in runs)),
        workspace=engine.workspace,
        framework=number(framework_bytes(step, engine)),
    )


def made(often: Num) -> Num:
    """1 where a run is made at all, else 0: arrays have runs that some of their points do not make."""
    return where(number(often) > 0.0, 1.0, 0.0)


def kept_frames(step: Step) -> Num:
    """Bytes of the last frames that each convolution over time has read and keeps for the next run: all of its window but one.

    Source: diffusers, autoencoder_kl_wan.py, CACHE_T; autoencoder_kl_cogvideox.py, ``conv_cache``.
    """
    element = step.precision.bytes(ACTIVATION)
    return total(
        numbers.value(Product(1.0, op.inputs[0].letters.replace(TIME, "")))
        * (numbers.letter(WINDOW) - 1.0)
        * element
        * stack.repeat
        for stack, numbers in step.stacks
        for op in stack.block.ops
        if isinstance(op, Convolution) and WINDOW in op.inputs[1].letters
    )
