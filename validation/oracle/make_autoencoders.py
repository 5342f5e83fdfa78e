"""Counts of autoencoders: diffusers' own classes on PyTorch's meta device, FLOP by PyTorch's FlopCounterMode.

    python make_autoencoders.py oracle [NAME …] > autoencoders.csv            every configuration in autoencoders/*.json
    python make_autoencoders.py variants LINES.jsonl > ../variants/autoencoders.jsonl

``encode`` gets pixels, ``decode`` latents: height and width over the pixels of a latent, rounded down, and frames as the class makes
them, the first one alone where it is. ``tiled`` is after ``enable_tiling()``. Blending tiles has no matmul: it is left out, for on
the meta device it takes minutes. A line for the variants is {"name", "config", "clips": [[batch, frames, height, width, tiled], …]}.
"""

import csv
import json
import pathlib
import sys
import warnings

warnings.filterwarnings("ignore")
import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode

diffusers.utils.logging.set_verbosity_error()
HERE = pathlib.Path(__file__).resolve().parent / "autoencoders"
META = torch.device("meta")
PICTURES = ("AutoencoderKL", "AutoencoderDC", "AutoencoderKLFlux2")
FIELDS = ("name", "class", "mode", "batch", "frames", "height", "width", "tiled", "params", "flops")


def build(config):
    """The model without weights, and without the blending of tiles."""
    kind = getattr(diffusers, config["_class_name"])
    values = {k: v for k, v in config.items() if not k.startswith("_")}
    with META:
        model = kind(**values).eval()
    model = model.to(META)  # filters that were made before stand elsewhere
    for name in ("blend_v", "blend_h", "blend_t"):
        if hasattr(model, name):
            setattr(model, name, lambda a, b, *rest: b)
    return model


def ratios(model):
    """Pixels of a latent along each side, frames of a latent frame: what a small picture becomes."""
    kind = type(model).__name__
    c = model.config
    levels = len(c.get("block_out_channels") or c.get("dim_mult") or c.get("encoder_block_out_channels") or ())
    if kind == "AutoencoderKLWan":
        return (c.patch_size or 1) * 2 ** (levels - 1), 2 ** sum(c.temperal_downsample)
    if kind == "AutoencoderKLQwenImage":
        return 2 ** (levels - 1), 2 ** sum(c.temperal_downsample)
    if kind == "AutoencoderKLHunyuanVideo":
        side = 2 ** min(int(torch.tensor(float(c.spatial_compression_ratio)).log2()), levels)
        return side, 2 ** min(2, levels - 1)
    if kind in ("AutoencoderKLMochi", "AutoencoderKLLTXVideo"):
        return model.spatial_compression_ratio, model.temporal_compression_ratio
    if kind in ("AutoencoderKLHunyuanVideo15", "AutoencoderKLCosmos"):
        return c.spatial_compression_ratio, c.temporal_compression_ratio
    if kind == "AutoencoderKLCogVideoX":
        return 2 ** (levels - 1), 2 ** min(int(torch.tensor(float(c.temporal_compression_ratio)).log2()), levels - 1)
    if kind == "AutoencoderKLAllegro":
        return 2 ** (levels - 1), c.temporal_compression_ratio
    return 2 ** (levels - 1), 1


def latent_frames(model, frames, time):
    """Frames of the latents: the first stands alone but where nothing is causal."""
    first = 0 if type(model).__name__ == "AutoencoderKLAllegro" else 1
    return -(-(frames - first) // time) + first


def pixel_channels(model):
    """Channels of a pixel, before patches are made of them or waves added."""
    kind, c = type(model).__name__, model.config
    if kind == "AutoencoderKLWan":
        return c.in_channels // (c.get("patch_size") or 1) ** 2
    if kind == "AutoencoderKLMochi":
        return c.in_channels // 5
    return c.get("in_channels") or c.get("input_channels") or 3


def counted(run):
    """FLOP of a call without gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def measure(model, mode, batch, frames, height, width, tiled):
    """FLOP of encoding or decoding one clip."""
    c, picture = model.config, type(model).__name__ in PICTURES
    if tiled or type(model).__name__ == "AutoencoderKLAllegro":  # which has no other way
        model.enable_tiling()
    else:
        model.disable_tiling()
    if mode == "encode":
        channels = pixel_channels(model)
        shape = (batch * frames, channels, height, width) if picture else (batch, channels, frames, height, width)
        return counted(lambda: model.encode(torch.empty(shape, device=META)))
    side, time = ratios(model)
    channels = c.get("latent_channels") or c.get("z_dim")
    sides = (height // side, width // side)
    shape = (batch * frames, channels, *sides) if picture else (batch, channels, latent_frames(model, frames, time), *sides)
    heard = {"temb": torch.empty(batch, device=META)} if c.get("timestep_conditioning") else {}
    return counted(lambda: model.decode(torch.empty(shape, device=META), **heard))


def oracle(names):
    """A row for each configuration, clip and mode; of those that are named, where some are."""
    print(f"# torch {torch.__version__}, diffusers {diffusers.__version__}, python make_autoencoders.py oracle")
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(FIELDS)
    for path in sorted(HERE.glob("*.json")):
        if names and path.stem not in names:
            continue
        known = json.loads(path.read_text())
        model = build(known["config"])
        params = sum(p.numel() for p in model.parameters())
        for *clip, tiled in known["clips"]:
            for mode in ("encode", "decode"):
                flops = measure(model, mode, *clip, tiled)
                out.writerow((path.stem, known["config"]["_class_name"], mode, *clip, int(tiled), params, flops))
                sys.stdout.flush()


def variants(path):
    """A line for each made-up configuration; one that cannot be built or run says why instead of its counts."""
    print(json.dumps({"torch": torch.__version__, "diffusers": diffusers.__version__}))
    for line in pathlib.Path(path).read_text().splitlines():
        given = json.loads(line)
        try:
            model = build(given["config"])
            given["params"] = sum(p.numel() for p in model.parameters())
        except Exception as error:
            print(json.dumps({**given, "error": f"{type(error).__name__}: {error}"[:200]}))
            continue
        found = []
        for *clip, tiled in given.pop("clips"):
            for mode in ("encode", "decode"):
                try:
                    found.append([mode, *clip, tiled, measure(model, mode, *clip, tiled)])
                except Exception as error:
                    found.append([mode, *clip, tiled, f"{type(error).__name__}: {error}"[:120]])
        print(json.dumps({**given, "counts": found}))
        sys.stdout.flush()


if __name__ == "__main__":
    oracle(sys.argv[2:]) if sys.argv[1] == "oracle" else variants(sys.argv[2])
