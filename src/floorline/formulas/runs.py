"""A whole training run: its time with failures, device-hours, money and energy, and how many tokens a model should see."""

from __future__ import annotations

from floorline.num import Num


def run_seconds(tokens: Num, tokens_per_s: Num, available: Num) -> Num:
    r"""Time of a run over so many tokens, failures included.

    $$t = \frac{D}{R\,a}$$

    tokens        D  of the run                                    [-]
    tokens_per_s  R  of all devices, while they train              [1/s]
    available     a  share of the time in which they do            [-]
    returns       t  from start to end                             [s]

    Source: nanoGPT, transformer_sizing.ipynb (its last cell, without failures). Example: 300e9 tokens at 1 003 000 a second, as
    8 A100 at
    30 % make of GPT-2 124M: 3.46 days.

    >>> round(run_seconds(300e9, 1003700.0, 1.0) / 86400, 2)
    3.46
    """
    return tokens / (tokens_per_s * available)


def available_share(devices: Num, between_failures: Num, lost: Num) -> Num:
    r"""Share of the time in which a job of many devices trains, where each failure of one costs all of them a restart.

    $$a = \frac{1}{1 + \frac{g\,r}{m}}$$

    devices           g  of the job                                               [-]
    between_failures  m  mean time between failures of one device                 [s]
    lost              r  each failure: detection, restart, steps since the last checkpoint  [s]
    returns           a  share                                                    [-]

    Source: Llama 3 herd of models 2024, arXiv:2407.21783, section 3.3.4: 419 unexpected interruptions in 54 days of 16 384
    devices, one in 50 700 hours of a device, and more than 90 % of the time effective. Example: at twenty minutes each.

    >>> round(available_share(16384.0, 50700 * 3600.0, 20 * 60.0), 3)
    0.903
    """
    return 1.0 / (1.0 + devices * lost / between_failures)


def chinchilla_tokens(parameters: Num) -> Num:
    r"""Tokens with which a model of a given size makes the most of its arithmetic.

    $$D = 20 N$$

    parameters  N  of the model   [-]
    returns     D  tokens         [-]

    Source: Hoffmann et al. 2022 (Chinchilla), arXiv:2203.15556, table 3. Example: 70e9 parameters, 1.4e12 tokens.

    >>> chinchilla_tokens(70e9)
    1400000000000.0
    """
    return 20.0 * parameters
