"""A norm whose scale and shift are matmuls of the latents that are decoded, brought to the resolution of the level.

Letters: ``z`` channels of the latents, ``a`` ``b`` ``d`` their frames, height and width.
Sources: Zheng et al. 2022 (MoVQ), arXiv:2209.09002; diffusers 0.42, models/autoencoders/autoencoder_kl_cogvideox.py,
CogVideoXSpatialNorm3D.
"""

from __future__ import annotations

from dataclasses import dataclass

from floorline.blocks.autoencoder import ChannelNorm, GroupNorm
from floorline.op import Op, contraction, elementwise

LATENTS = (("a", "latent_t"), ("b", "latent_h"), ("d", "latent_w"))
"""Letters of the latents' extents."""


@dataclass(frozen=True)
class SpatialNorm(ChannelNorm):
    """A group norm, scaled and shifted by what latents say of each pixel.

    >>> [op.name for op in SpatialNorm(32).ops("norm1", "x", "h", "c", "tyx")]
    ['norm1', 'norm1_latents', 'norm1_scale', 'norm1_shift', 'norm1_modulate']
    """

    groups: int
    data: str = "zq[Bzabd]"

    def ops(self, name: str, source: str, target: str, channel: str, extent: str) -> tuple[Op, ...]:
        e, made = extent, f"{channel}{extent}"
        return (
            *GroupNorm(self.groups).ops(name, source, f"{name}_n", channel, extent),
            elementwise(f"{name}_latents", f"zq[Bzabd] -> {name}_z[Bz{e}]", "nearest"),
            contraction(f"{name}_scale", f"{name}_z[Bz{e}] W{name}_y[{channel}z] -> {name}_y[B{made}]", bias=True),
            contraction(f"{name}_shift", f"{name}_z[Bz{e}] W{name}_b[{channel}z] -> {name}_b[B{made}]", bias=True),
            elementwise(
                f"{name}_modulate",
                f"{name}_n[B{made}] {name}_y[B{made}] {name}_b[B{made}] -> {target}[B{made}]",
                "modulate",
            ),
        )
