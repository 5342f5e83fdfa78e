"""Counts of made-up configurations of diffusers' transformers: sizes and flags that no published model has.

    python make_diffusers.py CONFIGS.jsonl > diffusers-NAME.jsonl

A configuration is a line of JSON: {"name": …, "config": {"_class_name": …}, "inputs": {"batch", "frames", "height", "width", "text"}};
``frames``, ``height`` and ``width`` are those of the pixels, ``text`` the tokens of the text. Its counts are those of diffusers' own
class on PyTorch's meta device, as in ../oracle/make_oracle.py: parameters, and FLOP by PyTorch's FlopCounterMode of a forward
pass and of forward and backward (of grouped convolutions as said there). What cannot be built or run is left out, with the reason.
"""

import contextlib
import json
import sys
import types

import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode

META = torch.device("meta")


def real(*shape):
    return torch.zeros(*shape, dtype=torch.bfloat16, device=META)


def whole(*shape):
    return torch.zeros(*shape, dtype=torch.long, device=META)


REAL_AUTOCAST, REAL_NONZERO = torch.autocast, torch.nonzero


def autocast(device, *args, **kwargs):
    """PyTorch has none for the meta device; formats change no count."""
    return contextlib.nullcontext() if device == "meta" else REAL_AUTOCAST(device, *args, **kwargs)


def nonzero(x, *args, **kwargs):
    """Which tokens of a text are valid: on the meta device all of them are."""
    return whole(x.shape[0], 1) if x.device == META and x.dim() == 1 else REAL_NONZERO(x, *args, **kwargs)


torch.autocast, torch.nonzero = autocast, nonzero


def dit(c, b, f, h, w, text):
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), timestep=whole(b), class_labels=whole(b))


def pixart(c, b, f, h, w, text):
    extra = {"resolution": real(b, 2), "aspect_ratio": real(b, 1)} if c.use_additional_conditions or (c.use_additional_conditions is None and c.sample_size == 128) else {"resolution": None, "aspect_ratio": None}
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), encoder_hidden_states=real(b, text, c.caption_channels or c.cross_attention_dim), timestep=whole(b), added_cond_kwargs=extra)


def flux(c, b, f, h, w, text):
    tokens = (h // 16) * (w // 16)
    kw = dict(hidden_states=real(b, tokens, c.in_channels), encoder_hidden_states=real(b, text, c.joint_attention_dim), pooled_projections=real(b, c.pooled_projection_dim),
              timestep=real(b), img_ids=real(tokens, 3), txt_ids=real(text, 3))
    return {**kw, "guidance": real(b)} if c.guidance_embeds else kw


def sana(c, b, f, h, w, text):
    kw = dict(hidden_states=real(b, c.in_channels, h // 32, w // 32), encoder_hidden_states=real(b, text, c.caption_channels), timestep=whole(b))
    return {**kw, "guidance": real(b)} if c.guidance_embeds else kw


def latents(c, b, f, h, w, down, first=1, frames=4):
    return real(b, c.in_channels, (f - first) // frames + first, h // down, w // down)


def wan(c, b, f, h, w, text):
    kw = dict(hidden_states=latents(c, b, f, h, w, 16 if (c.out_channels or c.in_channels) == 48 else 8), timestep=whole(b), encoder_hidden_states=real(b, text, c.text_dim))
    if not c.image_dim:
        return kw
    shown = (b, 257) if c.pos_embed_seq_len is None else (2 * b, c.pos_embed_seq_len // 2)  # the first picture, or first and last one below the other
    return {**kw, "encoder_hidden_states_image": real(*shown, c.image_dim)}


def latte(c, b, f, h, w, text):
    return dict(hidden_states=real(b, c.in_channels, f, h // 8, w // 8), encoder_hidden_states=real(b, text, c.caption_channels), timestep=whole(b))


def allegro(c, b, f, h, w, text):
    t, y, x = -(-f // 4), h // 8 // c.patch_size, w // 8 // c.patch_size
    wide = c.attention_head_dim // 3
    turned = [tuple(torch.zeros(n, wide, device=META) for _ in range(2)) for n in (t, y, x)], [whole(1, t * y * x) for _ in range(3)]
    return dict(hidden_states=real(b, c.in_channels, t, h // 8, w // 8), encoder_hidden_states=real(b, 1, text, c.caption_channels), timestep=whole(b), image_rotary_emb=turned)


def hunyuan_video(c, b, f, h, w, text):
    kw = dict(hidden_states=real(b, c.in_channels, (f - 1) // 4 + 1, h // 8, w // 8), timestep=whole(b), encoder_hidden_states=real(b, text, c.text_embed_dim),
              encoder_attention_mask=torch.ones(b, text, dtype=torch.bfloat16, device=META), pooled_projections=real(b, c.pooled_projection_dim))
    return {**kw, "guidance": real(b)} if c.guidance_embeds else kw


def ltx_video(c, b, f, h, w, text):
    """The pipeline packs patches into channels before the class sees them."""
    t, y, x = ((f - 1) // 8 + 1) // c.patch_size_t, h // 32 // c.patch_size, w // 32 // c.patch_size
    return dict(hidden_states=real(b, t * y * x, c.in_channels), encoder_hidden_states=real(b, text, c.caption_channels), timestep=whole(b), encoder_attention_mask=real(b, text), num_frames=t, height=y, width=x)


def qwen_image(c, b, f, h, w, text):
    side = (h // 16, w // 16)
    kw = dict(hidden_states=real(b, side[0] * side[1], c.in_channels), encoder_hidden_states=real(b, text, c.joint_attention_dim), encoder_hidden_states_mask=None, timestep=real(b), img_shapes=[[(1, *side)]] * b)
    return {**kw, "additional_t_cond": whole(b)} if c.use_additional_t_cond else kw


def flux2(c, b, f, h, w, text):
    tokens = (h // 16) * (w // 16)
    kw = dict(hidden_states=real(b, tokens, c.in_channels), encoder_hidden_states=real(b, text, c.joint_attention_dim), timestep=real(b), img_ids=real(b, tokens, 4), txt_ids=real(b, text, 4))
    return {**kw, "guidance": real(b)} if c.guidance_embeds else kw


def chroma(c, b, f, h, w, text):
    tokens = (h // 16) * (w // 16)
    return dict(hidden_states=real(b, tokens, c.in_channels), encoder_hidden_states=real(b, text, c.joint_attention_dim), timestep=real(b), img_ids=real(tokens, 3), txt_ids=real(text, 3))


def cosmos(c, b, f, h, w, text):
    from diffusers.models.transformers import transformer_cosmos

    resize = lambda x, size, interpolation: torch.nn.functional.interpolate(x, size, mode=interpolation)  # torchvision's, which the class takes; no FLOP
    transformer_cosmos.transforms = types.SimpleNamespace(InterpolationMode=types.SimpleNamespace(NEAREST="nearest"), functional=types.SimpleNamespace(resize=resize))
    own = c.extra_pos_embed_type is not None
    x = latents(c, b, f, h, w, 8, frames=8 if own else 4)
    framed = not own and c.in_channels == c.out_channels + 1 and c.patch_size[0] == 1
    read = real(b, text, c.crossattn_proj_in_channels if c.use_crossattn_projection else c.text_embed_dim)
    shown = real(b, c.img_context_num_tokens, c.img_context_dim_in) if c.img_context_dim_in else None
    return dict(hidden_states=x, timestep=real(b, 1, x.shape[2], 1, 1) if framed else whole(b), encoder_hidden_states=read if shown is None else (read, shown), fps=24,
                padding_mask=real(1, 1, h, w))


def sd3(c, b, f, h, w, text):
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), encoder_hidden_states=real(b, text, c.joint_attention_dim), pooled_projections=real(b, c.pooled_projection_dim), timestep=whole(b))


def cogvideox(c, b, f, h, w, text):
    """The pipeline fills latent frames up to whole tokens, and makes one offset for the whole batch."""
    deep = c.patch_size_t or 1
    t = -(-((f - 1) // c.temporal_compression_ratio + 1) // deep)
    kw = dict(hidden_states=real(b, t * deep, c.in_channels, h // 8, w // 8), encoder_hidden_states=real(b, text, c.text_embed_dim), timestep=whole(b))
    if c.ofs_embed_dim:
        kw["ofs"] = real(1)
    tokens = t * (h // 8 // c.patch_size) * (w // 8 // c.patch_size)
    turned = tuple(torch.zeros(tokens, c.attention_head_dim, device=META) for _ in range(2))
    return {**kw, "image_rotary_emb": turned} if c.use_rotary_positional_embeddings else kw


def mochi(c, b, f, h, w, text):
    return dict(hidden_states=real(b, c.in_channels, (f - 1) // 6 + 1, h // 8, w // 8), encoder_hidden_states=real(b, text, c.text_embed_dim), timestep=whole(b), encoder_attention_mask=real(b, text))


def aura_flow(c, b, f, h, w, text):
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), encoder_hidden_states=real(b, text, c.joint_attention_dim), timestep=real(b))


def cogview(c, b, f, h, w, text):
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), encoder_hidden_states=real(b, text, c.text_embed_dim), timestep=whole(b),
                original_size=real(b, 2), target_size=real(b, 2), crop_coords=real(b, 2))


def hunyuan_dit(c, b, f, h, w, text):
    tokens = (h // 8 // c.patch_size) * (w // 8 // c.patch_size)
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), timestep=real(b), encoder_hidden_states=real(b, c.text_len, c.cross_attention_dim), text_embedding_mask=real(b, c.text_len),
                encoder_hidden_states_t5=real(b, c.text_len_t5, c.cross_attention_dim_t5), text_embedding_mask_t5=real(b, c.text_len_t5), image_meta_size=real(b, 6), style=whole(b),
                image_rotary_emb=(torch.zeros(tokens, c.attention_head_dim, device=META),) * 2)


def z_image(c, b, f, h, w, text):
    """The pipeline's patches where there are any, or the first."""
    pairs = list(zip(c.all_patch_size, c.all_f_patch_size))
    side, frames = (2, 1) if (2, 1) in pairs else pairs[0]
    return dict(x=[real(c.in_channels, f, h // 8, w // 8)] * b, t=real(b), cap_feats=[real(text, c.cap_feat_dim)] * b, patch_size=side, f_patch_size=frames)


def lumina2(c, b, f, h, w, text):
    """Lengths of the texts are read off the mask: one off the meta device, for they are numbers."""
    from diffusers.models.transformers.transformer_lumina2 import Lumina2RotaryPosEmbed as Positions

    Positions.plain = getattr(Positions, "plain", Positions.forward)
    Positions.forward = lambda self, x, mask: self.plain(x, torch.ones(mask.shape, dtype=torch.long, device="cpu"))
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), timestep=real(b), encoder_hidden_states=real(b, text, c.cap_feat_dim), encoder_attention_mask=torch.ones(b, text, dtype=torch.bool, device=META))


def hunyuan_video15(c, b, f, h, w, text):
    """Beside the text 256 tokens of a byte-level T5 and 729 of a picture, as in the pipeline."""
    kw = dict(hidden_states=real(b, c.in_channels, (f - 1) // 4 + 1, h // 16, w // 16), timestep=real(b), encoder_hidden_states=real(b, text, c.text_embed_dim), encoder_attention_mask=real(b, text),
              encoder_hidden_states_2=real(b, 256, c.text_embed_2_dim), encoder_attention_mask_2=real(b, 256), image_embeds=real(b, 729, c.image_embed_dim))
    return {**kw, "timestep_r": real(b)} if c.use_meanflow else kw


def hunyuan_image(c, b, f, h, w, text):
    """Beside the text 128 tokens of a byte-level T5, where the model has them; one that refines pictures gets frames too."""
    deep = len(c.patch_size) == 3
    down = 16 if deep else 32
    kw = dict(hidden_states=real(b, c.in_channels, *([f] if deep else []), h // down, w // down), timestep=real(b), encoder_hidden_states=real(b, text, c.text_embed_dim), encoder_attention_mask=real(b, text))
    if c.text_embed_2_dim:
        kw |= dict(encoder_hidden_states_2=real(b, 128, c.text_embed_2_dim), encoder_attention_mask_2=real(b, 128))
    return {**kw, **({"timestep_r": real(b)} if c.use_meanflow else {}), **({"guidance": real(b)} if c.guidance_embeds else {})}


def framepack(c, b, f, h, w, text):
    """What is past as in the pipeline: two clean latents, two and sixteen coarser ones; 729 tokens of a picture."""
    kw = hunyuan_video(c, b, f, h, w, text)
    frames = kw["hidden_states"].shape[2]
    past = lambda n: real(b, c.in_channels, n, h // 8, w // 8)
    index = lambda n: torch.zeros(n, dtype=torch.long, device=META)
    return {**kw, "image_embeds": real(b, 729, c.image_proj_dim), "indices_latents": index(frames // c.patch_size_t), "latents_clean": past(2), "indices_latents_clean": index(2),
            "latents_history_2x": past(2), "indices_latents_history_2x": index(2), "latents_history_4x": past(16), "indices_latents_history_4x": index(16)}


class EveryTokenValid(torch.overrides.TorchFunctionMode):
    """Tokens are picked by masks, whose values the meta device does not have: a mask picks all, its inverse none, and a picture is not all zero."""

    def __torch_function__(self, function, kinds, args=(), kwargs=None):
        if function is torch.Tensor.sum and (kwargs or {}).get("dtype") is torch.int:
            return torch.full(args[0].shape[:1], args[0].shape[1], dtype=torch.int, device="cpu")
        if function is torch.all:
            return torch.zeros((), dtype=torch.bool, device="cpu")
        if function is torch.Tensor.__getitem__ and isinstance(args[1], torch.Tensor) and args[1].dtype == torch.bool:
            return args[0][:0] if hasattr(args[1], "picks_none") else args[0]
        made = function(*args, **(kwargs or {}))
        if function in (torch.Tensor.__invert__, torch.bitwise_not):
            made.picks_none = True
        return made


MODES = dict.fromkeys(("HunyuanVideo15Transformer3DModel", "HunyuanImageTransformer2DModel", "HunyuanVideoFramepackTransformer3DModel"), EveryTokenValid)
"""Class → what its forward pass runs under."""
def even_experts(self, x):
    """Which tokens an expert gets is no number on the meta device: each gets as many; what they compute together is the same."""
    self.gate.eval()  # without the loss that evens them out, which nothing reads
    _, weight, _ = self.gate(x)
    rows = x.view(-1, x.shape[-1]).repeat_interleave(self.num_activated_experts, dim=0)
    made = torch.cat([expert(part) for expert, part in zip(self.experts, rows.tensor_split(len(self.experts)))])
    return (made.view(*weight.shape, -1) * weight.unsqueeze(-1)).sum(dim=1).view(x.shape) + self.shared_experts(x)


def hidream_image(c, b, f, h, w, text):
    from diffusers.models.transformers.transformer_hidream_image import MOEFeedForwardSwiGLU

    MOEFeedForwardSwiGLU.forward = even_experts
    states = {k: real(b, text, c.caption_channels[1]) for k in c.llama_layers}
    return dict(hidden_states=real(b, c.in_channels, h // 8, w // 8), timesteps=whole(b), encoder_hidden_states_t5=real(b, text, c.caption_channels[0]),
                encoder_hidden_states_llama3=states, pooled_embeds=real(b, c.text_emb_dim))


def bria(c, b, f, h, w, text):
    tokens = (h // 16) * (w // 16)
    return dict(hidden_states=real(b, tokens, c.in_channels), encoder_hidden_states=real(b, text, c.joint_attention_dim), timestep=real(b), img_ids=real(tokens, 3), txt_ids=real(text, 3))


def wan_vace(c, b, f, h, w, text):
    kw = wan(c, b, f, h, w, text)
    return {**kw, "control_hidden_states": real(b, c.vace_in_channels, *kw["hidden_states"].shape[2:])}


def sky_reels_v2(c, b, f, h, w, text):
    return {**wan(c, b, f, h, w, text), "fps": [0] * b}


def ltx2_video(c, b, f, h, w, text):
    """As the pipeline: 24 frames a second, and the tokens of as many seconds of sound."""
    down = c.vae_scale_factors
    t, y, x = ((f - 1) // down[0] + 1) // c.patch_size_t, h // down[1] // c.patch_size, w // down[2] // c.patch_size
    heard = round(f / 24.0 * (c.audio_sampling_rate / c.audio_hop_length / c.audio_scale_factor))
    widths = (c.caption_channels,) * 2 if c.use_prompt_embeddings else (c.cross_attention_dim, c.audio_cross_attention_dim)
    return dict(hidden_states=real(b, t * y * x, c.in_channels), audio_hidden_states=real(b, heard, c.audio_in_channels), encoder_hidden_states=real(b, text, widths[0]),
                audio_encoder_hidden_states=real(b, text, widths[1]), timestep=real(b), sigma=real(b), num_frames=t * c.patch_size_t,
                height=y * c.patch_size, width=x * c.patch_size, audio_num_frames=heard)


INPUTS = {
    "LTX2VideoTransformer3DModel": ltx2_video,
    "WanVACETransformer3DModel": wan_vace,
    "SkyReelsV2Transformer3DModel": sky_reels_v2,
    "BriaTransformer2DModel": bria,
    "HiDreamImageTransformer2DModel": hidream_image,
    "Lumina2Transformer2DModel": lumina2,
    "HunyuanDiT2DModel": hunyuan_dit,
    "SD3Transformer2DModel": sd3,
    "CogVideoXTransformer3DModel": cogvideox,
    "MochiTransformer3DModel": mochi,
    "AuraFlowTransformer2DModel": aura_flow,
    "CogView4Transformer2DModel": cogview,
    "CogView3PlusTransformer2DModel": cogview,
    "CosmosTransformer3DModel": cosmos,
    "LTXVideoTransformer3DModel": ltx_video,
    "LatteTransformer3DModel": latte,
    "AllegroTransformer3DModel": allegro,
    "WanTransformer3DModel": wan,
    "DiTTransformer2DModel": dit,
    "PixArtTransformer2DModel": pixart,
    "SanaTransformer2DModel": sana,
    "FluxTransformer2DModel": flux,
    "HunyuanImageTransformer2DModel": hunyuan_image,
    "HunyuanVideoFramepackTransformer3DModel": framepack,
    "HunyuanVideo15Transformer3DModel": hunyuan_video15,
    "ZImageTransformer2DModel": z_image,
    "QwenImageTransformer2DModel": qwen_image,
    "Flux2Transformer2DModel": flux2,
    "ChromaTransformer2DModel": chroma,
    "HunyuanVideoTransformer3DModel": hunyuan_video,
}
"""Class → what its forward pass is given, from its configuration and the sizes of a line."""


def convolution_backward(grad_out, x, w, bias, stride, padding, dilation, transposed, output_padding, groups, mask, out_val=None, **kwargs):
    """PyTorch's formula counts the gradient of a grouped convolution's weight as if each channel saw all others: ``groups`` times too
    much. Here either gradient takes what the forward pass takes: every output times its window over its group's channels."""
    assert not transposed
    once = 2 * grad_out.numel() * w[0].numel()
    return once * (bool(mask[0]) + bool(mask[1]))


convolution_backward._get_raw = True


BOTH = ("LTX2VideoTransformer3DModel",)
"""Classes that make a video and its sound, and are trained on both."""


def forward(model, kw, train):
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward}) as counter, contextlib.nullcontext() if train else torch.no_grad():
        with MODES.get(type(model).__name__, contextlib.nullcontext)():
            outputs = model(**kw, return_dict=False)
            made = outputs[0]
        if train:
            wanted = outputs if type(model).__name__ in BOTH else (made[0] if isinstance(made, list) else made,)
            sum(part.float().sum() for part in wanted).backward()
    return counter.get_total_flops()


def count(line):
    config, sizes = dict(line["config"]), line["inputs"]
    kind = config.pop("_class_name")
    found = {"name": line["name"], "config": line["config"], "inputs": sizes, "errors": []}
    try:
        with torch.device(META):
            model = getattr(diffusers, kind)(**config).to(torch.bfloat16)
        found["params"] = sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
        kw = INPUTS[kind](model.config, *(sizes[k] for k in ("batch", "frames", "height", "width", "text")))
        found["forward"] = forward(model, kw, False)
        found["fwd+bwd"] = forward(model, kw, True)
    except Exception as error:  # noqa: BLE001
        found["errors"].append(f"{type(error).__name__}: {str(error)[:160]}")
    return found


if __name__ == "__main__":
    for text in open(sys.argv[1]):
        if text.strip():
            print(json.dumps(count(json.loads(text))), flush=True)
