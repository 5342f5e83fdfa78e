"""Speculative decoding: something cheap drafts tokens, one pass of the model accepts those that it would have made itself."""

from __future__ import annotations

from floorline.num import Num, minimum, number, power, where


def round_tokens(acceptance: Num, drafted: Num) -> Num:
    r"""Tokens that a round of drafting and checking yields on average: those before the first refusal, and one of the model's own.

    $$E = \sum_{i=0}^{g} a^i = \frac{1 - a^{g + 1}}{1 - a}$$

    acceptance  a  chance that a drafted token is accepted  [-]
    drafted     g  tokens drafted in a round                [-]
    returns     E  tokens of a round                        [-]

    Source: Leviathan, Kalman, Matias 2023, arXiv:2211.17192, equation 1 (there α and γ). Example: of one drafted token half are
    accepted; all of four.

    >>> float(round_tokens(0.5, 1.0)), float(round_tokens(1.0, 4.0))
    (1.5, 5.0)
    """
    certain = number(acceptance) >= 1.0
    below = minimum(acceptance, 1.0 - 1e-12)
    return where(certain, drafted + 1.0, (1.0 - power(below, drafted + 1.0)) / (1.0 - below))


def token_time(draft: Num, check: Num, drafted: Num, yielded: Num) -> Num:
    r"""Time of a token: a round drafts one token after another and then checks all of them at once.

    $$t = \frac{g\,t_d + t_c}{E}$$

    draft    t_d  one step of what drafts         [s]
    check    t_c  one pass of the model over them [s]
    drafted  g    tokens drafted in a round       [-]
    yielded  E    tokens that a round yields      [-]
    returns  t    of a token                      [s]

    Source: Leviathan, Kalman, Matias 2023, arXiv:2211.17192, theorem 3.8 (there with t_c the time of a usual step). Example: four
    tokens drafted in 1 ms each and checked in 16 make two.

    >>> token_time(1e-3, 16e-3, 4.0, 2.0)
    0.01
    """
    return (drafted * draft + check) / yielded
