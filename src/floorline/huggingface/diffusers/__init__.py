"""One file a class of diffusers' transformers, by the ``_class_name`` of its ``config.json``."""

CLASSES: dict[str, str] = {
    "AllegroTransformer3DModel": "allegro",
    "AuraFlowTransformer2DModel": "aura_flow",
    "BriaTransformer2DModel": "bria",
    "ChromaTransformer2DModel": "chroma",
    "CogVideoXTransformer3DModel": "cogvideox",
    "CogView3PlusTransformer2DModel": "cogview3_plus",
    "CogView4Transformer2DModel": "cogview4",
    "CosmosTransformer3DModel": "cosmos",
    "DiTTransformer2DModel": "dit",
    "Flux2Transformer2DModel": "flux2",
    "FluxTransformer2DModel": "flux",
    "HiDreamImageTransformer2DModel": "hidream_image",
    "HunyuanDiT2DModel": "hunyuan_dit",
    "HunyuanImageTransformer2DModel": "hunyuan_image",
    "HunyuanVideo15Transformer3DModel": "hunyuan_video15",
    "HunyuanVideoFramepackTransformer3DModel": "hunyuan_video_framepack",
    "HunyuanVideoTransformer3DModel": "hunyuan_video",
    "LTX2VideoTransformer3DModel": "ltx2_video",
    "LTXVideoTransformer3DModel": "ltx_video",
    "LatteTransformer3DModel": "latte",
    "Lumina2Transformer2DModel": "lumina2",
    "MochiTransformer3DModel": "mochi",
    "PixArtTransformer2DModel": "pixart",
    "QwenImageTransformer2DModel": "qwen_image",
    "SD3Transformer2DModel": "sd3",
    "SanaTransformer2DModel": "sana",
    "SkyReelsV2Transformer3DModel": "sky_reels_v2",
    "WanTransformer3DModel": "wan",
    "WanVACETransformer3DModel": "wan_vace",
    "ZImageTransformer2DModel": "z_image",
}
"""``_class_name`` → the module that reads it."""

MODEL_TYPES = {
    "MMDiT": "open_sora_mmdit",
    "STDiT": "open_sora_stdit",
    "STDiT2": "open_sora_stdit2",
    "STDiT3": "open_sora_stdit3",
}
"""``model_type`` of denoisers outside diffusers → the module that reads it."""
