"""Training arithmetic: FLOP by parameters, utilisation, days, checkpoint size."""

from __future__ import annotations

from floorline.num import Num


def six_n_d(parameters: Num, tokens: Num) -> Num:
    r"""Arithmetic of training: two FLOP forward and four backward for each parameter and token.

    $$C = 6 N D$$

    parameters  N  parameters                 [-]
    tokens      D  training tokens            [-]
    returns     C  floating-point operations  [FLOP]

    Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1. Example: GPT-3, 175e9 parameters and 300e9 tokens, 3.15e23
    (Brown et al. 2020, arXiv:2005.14165, table D.1).

    >>> f"{six_n_d(175e9, 300e9):.3g}"
    '3.15e+23'
    """
    return 6.0 * parameters * tokens


def palm_flops_per_token(parameters: Num, layers: Num, heads: Num, head_dim: Num, seq_len: Num) -> Num:
    r"""Arithmetic of one token's forward and backward pass, attention over the full square included.

    $$C = 6N + 12 L N_h H T$$

    parameters  N    parameters, position tables left out  [-]
    layers      L    layers                                [-]
    heads       N_h  query heads                           [-]
    head_dim    H    head width                            [-]
    seq_len     T    tokens in the sequence                [-]
    returns     C    floating-point operations             [FLOP]

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B. Example: GPT-2 124M without biases, 1024 tokens,
    875 062 886 400 a sequence (nanoGPT, transformer_sizing.ipynb).

    >>> palm_flops_per_token(123551232.0, 12.0, 12.0, 64.0, 1024.0) * 1024
    875062886400.0
    """
    return 6.0 * parameters + 12.0 * layers * heads * head_dim * seq_len


def model_flops_utilisation(flops: Num, seconds: Num, peak: Num, devices: Num) -> Num:
    r"""MFU: the rate of useful arithmetic as a share of the peak.

    $$\mathrm{MFU} = \frac{C}{t\,g\,\pi}$$

    flops    C    model FLOP of the work, nothing computed twice  [FLOP]
    seconds  t    time it took                                    [s]
    peak     π    arithmetic rate of one device                   [FLOP/s]
    devices  g    devices                                         [-]
    returns  MFU  utilisation                                     [-]

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B. Example: 100 sequences of GPT-2 124M in 0.755 s on an
    A100 (nanoGPT, transformer_sizing.ipynb): 37.14 %.

    >>> round(model_flops_utilisation(100 * 874944921600.0, 0.755, 312e12, 1.0) * 100, 2)
    37.14
    """
    return flops / (seconds * devices * peak)


def training_days(parameters: Num, tokens: Num, devices: Num, peak: Num, utilisation: Num) -> Num:
    r"""Days of training by 6ND at a stated utilisation.

    $$d = \frac{6 N D}{g\,\pi\,u \cdot 86400}$$

    parameters   N  parameters                     [-]
    tokens       D  training tokens                [-]
    devices      g  devices                        [-]
    peak         π  arithmetic rate of one device  [FLOP/s]
    utilisation  u  share of the peak              [-]
    returns      d  days                           [d]

    Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1; example of nanoGPT,
    transformer_sizing.ipynb: GPT-2 124M, 300e9 tokens, 8 A100s
    at 30 %.

    >>> round(training_days(124337664.0, 300e9, 8.0, 312e12, 0.3), 2)
    3.46
    """
    return six_n_d(parameters, tokens) / (devices * peak * utilisation) / 86400.0


def checkpoint_bytes(parameters: Num, bytes_per_parameter: Num, moments: Num) -> Num:
    r"""Size of a checkpoint with optimizer moments.

    $$V = b\,(1 + m)\,P$$

    parameters           P  parameters                                    [-]
    bytes_per_parameter  b  bytes of a parameter and of each moment       [B]
    moments              m  moments that the optimizer keeps (AdamW: 2)   [-]
    returns              V  bytes                                         [B]

    Source: nanoGPT, transformer_sizing.ipynb: 1.49 GB for GPT-2 124M in fp32; the file has 1 542 470 366 bytes.

    >>> round(checkpoint_bytes(124337664.0, 4.0, 2.0) / 1e9, 2)
    1.49
    """
    return bytes_per_parameter * (1.0 + moments) * parameters
