"""LTX-2: a video and its sound, two streams of different widths that see each other in every layer.

The sound's tokens follow from the frames: 24 of them a second, and so many tokens a second as the rates of sampling, hops and
latents give. Perturbed attention, which guides by leaving attention out in some layers, is not counted.

Sources: HaCohen et al. 2026 (LTX-2), arXiv:2601.03233; diffusers 0.42, models/transformers/transformer_ltx2.py and
pipelines/ltx2/pipeline_ltx2.py.
"""

from __future__ import annotations

from functools import cache

from floorline.block import Block, block
from floorline.blocks.adaptive_norm import modulated, modulation
from floorline.blocks.conditioning import two_matmuls
from floorline.blocks.norm import PLAIN_NORM, RMS_NORM, Norm
from floorline.blocks.sound_and_video import FIXED, SOUND, TIMED, TOLD, Side, sound_and_video
from floorline.blocks.streams import relettered
from floorline.errors import BadInput
from floorline.huggingface.config import Config, as_whole
from floorline.huggingface.diffusers.common import WAVES, denoiser, feed_forward, heads, ignored, optional, same, stack
from floorline.num import Num
from floorline.op import Op, contraction, elementwise
from floorline.specs.latent import Latent
from floorline.transformer import Transformer

HEARD = (("N", "floor((latent_t*span - span + 1)/24*rate + 0.5)"), ("L", "N"))
"""Tokens of the sound: seconds of the video times tokens of a second."""
ROWS = Norm("rms_norm", weight=False)
NORM = "rms_norm_across_heads"


@cache
def start(marked: bool) -> Block:
    """Latents of the video and of the sound, ``g`` channels, to tokens.

    marked  whether a learned vector marks key frames

    >>> start(False).outputs
    ('x', 'ax')
    """
    target = "x0" if marked else "x"
    ops: tuple[Op, ...] = (
        contraction("patch", f"latent[BTc] Wpatch[cD] -> {target}[BTD]", bias=True),
        contraction("apatch", "sound[BNg] Wapatch[gd] -> ax[BNd]", bias=True),
    )
    if marked:
        ops += (elementwise("key_frames", "x0[BTD] Wkey_frames[D] -> x[BTD]", "add_table"),)
    return block("patches", "", ops, "x ax", data="latent[BTc] sound[BNg]")


def times(timed_text: bool, n: str) -> tuple[Op, ...]:
    """What a stream's layers share, each from an embedding of the time of its own, in the video's letters.

    n  prefix of names

    >>> len(times(False, "")), len(times(True, ""))
    (15, 20)
    """
    wanted = {"all": "nD", "rall": "rD", "gall": "D", **({"pall": "aD"} if timed_text else {})}
    ops: list[Op] = []
    for name, letters in wanted.items():
        vec = f"{n}vec" if name == "all" else f"{n}{name}_vec"
        ops += two_matmuls(f"{n}{name}_time", "waves[Bw]", f"{vec}[Bv]", "silu")
        ops += modulation(f"{n}{name}", vec, f"{n}{name}", letters=letters)
    return tuple(ops)


@cache
def conditioning(timed_text: bool) -> Block:
    """Modulations of all layers: of each stream's branches, of what it shows the other, of the gate between them, of its text."""
    ops = (*times(timed_text, ""), *relettered(times(timed_text, "a"), SOUND))
    made = " ".join(
        f"{n}{x}" for n in ("", "a") for x in ("all", "vec", "rall", "gall", *(["pall"] if timed_text else []))
    )
    return block("conditioning", "", ops, made, data="waves[Bw]")


@cache
def captions() -> Block:
    """The texts, brought to the widths of both streams.

    >>> captions().outputs
    ('memory', 'amemory')
    """
    ops = (
        *two_matmuls("caption", "text[BMt]", "memory[BMe]", "gelu_pytorch_tanh"),
        *relettered(two_matmuls("acaption", "atext[BMt]", "amemory[BMe]", "gelu_pytorch_tanh"), SOUND),
    )
    return block("captions", "", ops, "memory amemory", data="text[BMt] atext[BMt]")


def back(n: str, channels: str) -> tuple[Op, ...]:
    """A norm modulated by the time's vector plus a table, and the way back to latents, in the video's letters."""
    return (
        elementwise(f"{n}mod", f"{n}vec[Bv] W{n}mod[aD] -> {n}mod[BaD]", "add_table"),
        modulated(PLAIN_NORM, f"{n}mod[BaD]").op(f"{n}norm", f"{n}x", f"{n}h"),
        contraction(f"{n}unpatch", f"{n}h[BTD] W{n}unpatch[D{channels}] -> {n}noise[BT{channels}]", bias=True),
    )


@cache
def end() -> Block:
    """Both ways back; ``l`` channels of the sound are predicted."""
    ops = (*back("", "o"), *relettered(back("a", "l"), SOUND))
    return block("out", "x[BTD] vec[Bv] ax[BNd] avec[By]", ops, "noise anoise")


def sides(config: Config) -> tuple[Side, Side]:
    """What a layer does to the video, and to the sound."""
    norm = RMS_NORM if config.flag("norm_elementwise_affine", False) else ROWS
    bias, out_bias = config.flag("attention_bias", True), config.flag("attention_out_bias", True)

    def side(name: str, key: str) -> Side:
        return Side(
            name=name,
            norm=norm,
            bias=bias,
            out_bias=out_bias,
            gate=config.flag(f"{key}gated_attn", False),
            text_norm=config.flag(f"{key}cross_attn_mod", False),
            ffn=feed_forward(config, "gelu-approximate", bias=config.flag(f"{key}ff_bias", True), name=name),
        )

    return side("", ""), side("a", "audio_")


def letters(config: Config, video: Side, sound: Side) -> dict[str, Num]:
    """Sizes of all letters."""
    sizes = heads(config, 32.0, 128.0)
    other = heads(config, 32.0, 64.0, heads="audio_num_attention_heads", head_dim="audio_attention_head_dim")
    wide, narrow = sizes["D"], other["D"]
    channels, made = config.size("in_channels", 128.0), optional(config, "out_channels", 128.0)
    heard, said = config.size("audio_in_channels", 128.0), optional(config, "audio_out_channels", 128.0)
    sizes |= {"F": 4.0 * wide, "v": wide, "u": wide, "n": 9.0 if video.text_norm else 6.0}
    sizes |= {"d": narrow, "p": other["K"], "q": other["H"], "b": 4.0 * narrow, "y": narrow, "X": narrow}
    sizes |= {"m": 9.0 if sound.text_norm else 6.0, "r": 4.0, "a": 2.0, "w": WAVES}
    sizes |= {"c": channels, "o": channels if made is None else made, "g": heard, "l": heard if said is None else said}
    sizes |= {"e": config.size("cross_attention_dim", 4096.0), "z": config.size("audio_cross_attention_dim", 2048.0)}
    rate, hop = config.size("audio_sampling_rate", 16000.0), config.size("audio_hop_length", 160.0)
    return sizes | {
        "t": config.size("caption_channels", 3840.0),
        "rate": rate / hop / config.size("audio_scale_factor", 4.0),
    }


def latent(config: Config) -> Latent:
    """How pixels become tokens.

    raises BadInput where ``vae_scale_factors`` are no three whole numbers, or its sides differ
    """
    value = config.get("vae_scale_factors")
    found = tuple(value) if isinstance(value, (list, tuple)) else (8.0, 32.0, 32.0) if value is None else ()
    if len(found) != 3 or any(as_whole(v, 1.0) is None for v in found) or found[1] != found[2]:
        raise BadInput(
            f"{config.name}: vae_scale_factors is {str(value)[:40]!r}; expected frames, height and width, such as [8, 32, 32]"
        )
    return Latent(
        down=float(found[1]),
        frames=float(found[0]),
        first=1,
        patch=config.size("patch_size", 1.0),
        patch_frames=config.size("patch_size_t", 1.0),
        height=512,
        width=768,
        length=121,
        text=1024,
    )


def read(config: Config) -> Transformer:
    """A configuration of LTX2VideoTransformer3DModel.

    >>> read(Config({}, "ltx-2")).layers()
    48.0
    """
    video, sound = sides(config)
    sizes, found = letters(config, video, sound), latent(config)
    brought, modulates = config.flag("use_prompt_embeddings", True), video.text_norm or sound.text_norm
    timed = config.flag("use_prompt_adaln_single", True) and modulates
    if brought or modulates:
        same(config, "cross_attention_dim", sizes["e"], sizes["D"])
        same(config, "audio_cross_attention_dim", sizes["z"], sizes["d"])
    if config.text("qk_norm", NORM) != NORM:
        raise BadInput(f"{config.name}: qk_norm is {str(config.get('qk_norm'))[:40]!r}; expected {NORM!r}")
    ignored(config, "norm_eps", "rope_theta", "rope_type", "rope_double_precision", "causal_offset", "perturbed_attn")
    ignored(config, "pos_embed_max_pos", "audio_pos_embed_max_pos", "base_height", "base_width", "audio_patch_size")
    ignored(config, "audio_patch_size_t", "timestep_scale_multiplier", "cross_attn_timestep_scale_multiplier")
    block_of = sound_and_video(video, sound, TIMED if timed else FIXED if modulates else TOLD, not brought)
    sizes |= {"span": found.frames}
    stacks = (
        stack(conditioning(timed)),
        stack(start(config.flag("use_keyframes_abs_pos_embedding", False)), tokens=HEARD),
        *((stack(captions(), whole="M"),) if brought else ()),
        stack(block_of, config.count("num_layers", 48.0, least=1.0), tokens=HEARD, whole="M"),
        stack(end(), tokens=HEARD),
    )
    return denoiser(config, sizes, stacks, found)
