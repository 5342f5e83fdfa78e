"""CogView3-Plus: text and picture as one sequence through the same weights; positions are a table that is computed.

Sources: Zheng et al. 2024, arXiv:2403.05121; diffusers 0.42, models/transformers/transformer_cogview3plus.py,
models/normalization.py, CogView3PlusAdaLayerNormZeroTextImage.
"""

from __future__ import annotations

from floorline.blocks.joint_attention import JOINT
from floorline.blocks.shared_streams import shared_layer
from floorline.huggingface.config import Config
from floorline.huggingface.diffusers.cogvideox import start
from floorline.huggingface.diffusers.cogview import ATTENTION, FEED_FORWARD, latent_of, sizes_of
from floorline.huggingface.diffusers.common import denoiser, ignored, stack
from floorline.huggingface.diffusers.flux import conditioning, end
from floorline.transformer import Transformer


def read(config: Config) -> Transformer:
    """A configuration of CogView3PlusTransformer2DModel.

    >>> read(Config({"num_layers": 30}, "cogview3-plus-3b")).parameter_count().total
    2848836672.0
    """
    sizes = sizes_of(config)
    ignored(config, "pos_embed_max_size")
    stacks = (
        stack(conditioning(False)),
        stack(start("cij", True, True)),
        stack(shared_layer(ATTENTION, FEED_FORWARD), config.count("num_layers", 30.0, least=1.0), tokens=JOINT),
        stack(end(), sizes={"n": 2.0}),
    )
    return denoiser(config, sizes, stacks, latent_of(config, sizes))
