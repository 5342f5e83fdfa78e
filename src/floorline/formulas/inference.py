"""Inference arithmetic of a plain transformer: parameters, KV cache, capacity, latency.

The letters are those of the project: L layers, D width, N = K·G heads, K key/value heads, H head width. The numbers in the
examples are those of the article's 52-billion model (L = 64, D = 8192, N = 128, H = 64, two bytes an element).
"""

from __future__ import annotations

from floorline.num import Num, power, where


def layer_stack_parameters(layers: Num, width: Num) -> Num:
    r"""Parameters of L plain layers: 4D² in attention and 8D² in the feed-forward; biases, norms and tables left out.

    $$P = 12 L D^2$$

    layers   L  layers       [-]
    width    D  model width  [-]
    returns  P  parameters   [-]

    Source: Chen 2022, "Transformer inference arithmetic", section capacity (52 B).

    >>> float(layer_stack_parameters(64.0, 8192.0))
    51539607552.0
    """
    return 12.0 * layers * power(width, 2.0)


def kv_bytes_per_token(layers: Num, kv_heads: Num, head_dim: Num, bytes_per_element: Num) -> Num:
    r"""Keys and values that one token leaves in the cache.

    $$V = 2\,b\,L K H$$

    layers             L  layers               [-]
    kv_heads           K  key/value heads      [-]
    head_dim           H  head width           [-]
    bytes_per_element  b  bytes of an element  [B]
    returns            V  bytes a token        [B]

    Source: Chen 2022, "Transformer inference arithmetic", section KV cache: 2·2·64·128·64.

    >>> kv_bytes_per_token(64.0, 128.0, 64.0, 2.0)
    2097152.0
    """
    return 2.0 * bytes_per_element * layers * kv_heads * head_dim


def kv_flops_per_token(layers: Num, width: Num) -> Num:
    r"""Arithmetic that makes one token's keys and values in multi-head attention.

    $$C = 2 \cdot 2 L D^2$$

    layers   L  layers                     [-]
    width    D  model width                [-]
    returns  C  floating-point operations  [FLOP]

    Source: Chen 2022, "Transformer inference arithmetic", section KV cache: 1.718e10 for the 52 B model.

    >>> float(kv_flops_per_token(64.0, 8192.0))
    17179869184.0
    """
    return 4.0 * layers * power(width, 2.0)


def kv_weight_bytes(layers: Num, width: Num, bytes_per_element: Num) -> Num:
    r"""Bytes of the weights that make keys and values; reading them takes as long for one token as for many.

    $$V = 2\,b\,L D^2$$

    layers             L  layers               [-]
    width              D  model width          [-]
    bytes_per_element  b  bytes of an element  [B]
    returns            V  bytes                [B]

    Source: Chen 2022, "Transformer inference arithmetic", section KV cache: 11.45 ms at 1.5 TB/s for the 52 B model.

    >>> round(float(kv_weight_bytes(64.0, 8192.0, 2.0)) / 1.5e12 * 1e3, 2)
    11.45
    """
    return 2.0 * bytes_per_element * layers * power(width, 2.0)


def memory_beside_weights(devices: Num, memory: Num, weight_bytes: Num) -> Num:
    r"""Memory that devices have left beside the weights, for keys and values.

    $$V = g M - W$$

    devices       g  devices                [-]
    memory        M  memory of one          [B]
    weight_bytes  W  bytes of all weights   [B]
    returns       V  what is left           [B]

    Source: an article on diffusion transformers, section capacity: 52e9 parameters of two bytes are 104 GB. It says that four
    cards of 40 GB leave 16 GB, which three do; four leave 56 GB.

    >>> memory_beside_weights(3.0, 40e9, 104e9), memory_beside_weights(4.0, 40e9, 104e9)
    (16000000000.0, 56000000000.0)
    """
    return devices * memory - weight_bytes


def kv_capacity(devices: Num, memory: Num, weight_bytes: Num, kv_bytes: Num) -> Num:
    r"""Tokens whose keys and values fit beside the weights.

    $$n = \frac{g M - W}{V}$$

    devices       g  devices                    [-]
    memory        M  memory of one              [B]
    weight_bytes  W  bytes of all weights       [B]
    kv_bytes      V  cache bytes of one token   [B]
    returns       n  tokens                     [-]

    Source: Chen 2022, "Transformer inference arithmetic", section capacity: three cards of 40 GB leave 16 GB beside 104 GB
    of weights, 7629 tokens at 2 097 152 bytes; four leave 56 GB.

    >>> int(kv_capacity(3.0, 40e9, 104e9, 2097152.0)), round(kv_capacity(4.0, 40e9, 104e9, 2097152.0), -2)
    (7629, 26700.0)
    """
    return (devices * memory - weight_bytes) / kv_bytes


def forward_flops_per_token(parameters: Num) -> Num:
    r"""Arithmetic of a forward pass for one token, attention's scores and values left out.

    $$C = 2P$$

    parameters  P  parameters that matmuls use  [-]
    returns     C  floating-point operations    [FLOP]

    Source: Chen 2022, "Transformer inference arithmetic", section flops counting: 2·12·L·D² = 1.031e11 for the 52 B model.

    >>> f"{forward_flops_per_token(51539607552.0):.4g}"
    '1.031e+11'
    """
    return 2.0 * parameters


def stage_flops_per_byte(squares: Num, width: Num, ranks: Num, bytes_per_element: Num) -> Num:
    r"""Arithmetic of a stage of a tensor-parallel layer for each byte that its rank sends; no limit where nothing is sent.

    A stage of q·D² weights takes 2·q·D²/n FLOP a token, and half of an all-reduce sends b·(n − 1)·D/n bytes.

    $$I = \frac{2 q D}{b (n - 1)}$$

    squares            q  weights of the stage over D²: 3 queries, keys and values; 1 output; 4 each feed-forward matmul  [-]
    width              D  model width              [-]
    ranks              n  tensor-parallel ranks    [-]
    bytes_per_element  b  bytes of an element      [B]
    returns            I  FLOP for each byte sent  [FLOP/B]

    Source: Chen 2022, "Transformer inference arithmetic", sections model parallelism and batch sizes: against 312e12/300e9 = 1040.
    Example: the 52 B model (D = 8192) on four accelerators, output projection, and queries, keys and values.

    >>> [round(float(stage_flops_per_byte(q, 8192.0, 4.0, 2.0))) for q in (1.0, 3.0)]
    [2731, 8192]
    """
    others = ranks - 1.0
    return where(
        others > 0.0, 2.0 * squares * width / (bytes_per_element * where(others > 0.0, others, 1.0)), float("inf")
    )


def weight_read_time(parameters: Num, bytes_per_element: Num, devices: Num, bandwidth: Num) -> Num:
    r"""Time of a token at a small batch: every weight is read once, each device reads its share.

    $$T = \frac{b P}{n \beta}$$

    parameters         P  parameters                     [-]
    bytes_per_element  b  bytes of an element            [B]
    devices            n  devices                        [-]
    bandwidth          β  memory bandwidth of one        [B/s]
    returns            T  time                           [s]

    Source: Chen 2022, "Transformer inference arithmetic", section latency calculations: 260e9 parameters on 16 A100s, 21.7 ms.

    >>> round(weight_read_time(260e9, 2.0, 16.0, 1.5e12) * 1e3, 1)
    21.7
    """
    return bytes_per_element * parameters / (devices * bandwidth)


def message_start_time(layers: Num, latency: Num) -> Num:
    r"""Time of a token's messages at a small batch: four a layer, each as long as its start.

    $$T = 4 L \alpha$$

    layers   L  layers              [-]
    latency  α  start of a message  [s]
    returns  T  time                [s]

    Source: Chen 2022, "Transformer inference arithmetic", section latency calculations: 80 layers at 8 µs, 2.56 ms.

    >>> round(message_start_time(80.0, 8e-6) * 1e3, 2)
    2.56
    """
    return 4.0 * layers * latency


def batch_arithmetic_time(batch: Num, parameters: Num, devices: Num, peak: Num) -> Num:
    r"""Time of a step at a large batch: two FLOP for each parameter and sequence, shared by the devices.

    $$T = \frac{2 B P}{n \pi}$$

    batch       B  sequences               [-]
    parameters  P  parameters              [-]
    devices     n  devices                 [-]
    peak        π  arithmetic rate of one  [FLOP/s]
    returns     T  time                    [s]

    Source: Chen 2022, "Transformer inference arithmetic", section latency calculations: batch 512 of 260e9 parameters on 16
    A100s, 53.3 ms.

    >>> round(batch_arithmetic_time(512.0, 260e9, 16.0, 312e12) * 1e3, 1)
    53.3
    """
    return 2.0 * batch * parameters / (devices * peak)


def batch_message_time(batch: Num, layers: Num, width: Num, ranks: Num, bytes_per_element: Num, link: Num) -> Num:
    r"""Time of a step's messages at a large batch: four a layer of (n − 1)·D/n elements for each sequence.

    $$T = \frac{4 b B L D}{\beta} \cdot \frac{n - 1}{n}$$

    batch              B  sequences              [-]
    layers             L  layers                 [-]
    width              D  model width            [-]
    ranks              n  tensor-parallel ranks  [-]
    bytes_per_element  b  bytes of an element    [B]
    link               β  link, one direction    [B/s]
    returns            T  time                   [s]

    Source: Chen 2022, "Transformer inference arithmetic", section latency calculations: batch 512, 80 layers, width 16384 at 300
    GB/s, 17.9 ms with (n − 1)/n dropped. Example: with it, and as good as without it.

    >>> [round(float(batch_message_time(512.0, 80.0, 16384.0, n, 2.0, 300e9)) * 1e3, 1) for n in (16.0, 1e9)]
    [16.8, 17.9]
    """
    return 4.0 * bytes_per_element * batch * layers * width / link * ((ranks - 1.0) / ranks)


def fetch_over_recompute(kv_bytes: Num, link: Num, parameters: Num, peak: Num) -> Num:
    r"""Time to fetch a token's keys and values from elsewhere, over the time to compute them again; above one, recompute.

    $$r = \frac{V}{\beta} \cdot \frac{\pi}{2 P}$$

    kv_bytes    V  cache bytes of one token                          [B]
    link        β  way to where they are kept, one direction         [B/s]
    parameters  P  parameters, all of which a recomputed token needs  [-]
    peak        π  arithmetic rate                                   [FLOP/s]
    returns     r  fetching over recomputing                         [-]

    Source: counting, with Chen 2022, "Transformer inference arithmetic", sections KV cache and flops counting. Example: 2 097 152
    bytes over PCIe 4.0, against 52e9 parameters on an A100.

    >>> round(fetch_over_recompute(2097152.0, 32e9, 52e9, 312e12), 3)
    0.197
    """
    return kv_bytes / link * (peak / (2.0 * parameters))
