"""What an attention kernel has to do, whichever way it does it."""

from __future__ import annotations

from dataclasses import dataclass

from floorline.efficiency.device import Width
from floorline.num import Num


@dataclass(frozen=True)
class Attention:
    """Sizes of one attention kernel on one device.

    sequences    B
    kv_heads     K, heads of keys and values
    group        G, query heads for each of them
    queries      T of each sequence
    keys         S of each sequence
    width        of a head's queries and keys, H
    value_width  of its values
    visible      share of query–key pairs that a mask leaves
    latent       width that keys and values share in the cache, where they do (latent attention); 0 where each has its own
    """

    sequences: Num
    kv_heads: Num
    group: Num
    queries: Num
    keys: Num
    width: Num
    value_width: Num
    visible: Num = 1.0
    latent: Num = 0.0

    def kept(self, width: Width, seen: Num) -> Num:
        """Bytes of keys and values of so many tokens of each sequence."""
        return width.cache * self.sequences * seen * self.kv_heads * (self.width + self.value_width - self.latent)

    def own(self, width: Width) -> Num:
        """Bytes of queries and outputs."""
        each = width.activations * self.width + width.result * self.value_width
        return self.sequences * self.queries * self.kv_heads * self.group * each
