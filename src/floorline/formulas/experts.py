"""Mixtures of experts: how many of them a batch touches."""

from __future__ import annotations

from floorline.num import Num, expm1, log1p, maximum, minimum, number, where


def experts_read(tokens: Num, chosen: Num, experts: Num, evenness: Num) -> Num:
    r"""Expected share of the experts that some tokens touch, when each token chooses k of E.

    Tokens choose among E' experts alike: among all of them where routing is even (e = 1), among the same k where it is
    as uneven as can be (e = 0: the fewest that routing allows).

    $$r = \frac{E'}{E} \left(1 - \left(1 - \frac{k}{E'}\right)^n\right), \qquad E' = \max(k,\, k + e\,(E - k))$$

    tokens    n  tokens that are routed                     [-]
    chosen    k  experts that each token chooses            [-]
    experts   E  experts                                    [-]
    evenness  e  1 for balanced routing, 0 for the same k   [-]
    returns   r  share of the experts                       [-]

    Source: expected number of distinct values in n draws, E(1 - (1 - k/E)^n) where e is 1. Example: one token touches k
    of E; of two experts, two tokens that choose one each touch both half of the time.

    >>> float(experts_read(1.0, 8.0, 256.0, 1.0)) == 8 / 256, float(experts_read(2.0, 1.0, 2.0, 1.0))
    (True, 0.75)
    """
    pool = maximum(chosen, chosen + evenness * (experts - chosen))
    return pool / experts * hit_share(tokens, chosen / pool)


def hit_share(tokens: Num, chance: Num) -> Num:
    r"""Probability that at least one of n tokens chooses an expert.

    $$q = 1 - (1 - p)^n$$

    tokens   n  tokens                               [-]
    chance   p  probability that one token chooses it [-]
    returns  q  probability                          [-]

    Source: independent tokens. Example: two tosses of a coin show heads with three in four.

    >>> float(hit_share(2.0, 0.5))
    0.75
    """
    # (1 - p)^n loses the digits of a small p; expm1 and log1p keep them. One token's answer is p itself, to the last bit.
    many = -expm1(tokens * log1p(-minimum(chance, ALMOST_ONE)))
    return where(number(tokens) == 1.0, chance, many)


ALMOST_ONE = float.fromhex("0x1.fffffffffffffp-1")
"""The largest chance whose complement has a logarithm."""
