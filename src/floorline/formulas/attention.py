"""Visible query-key pairs: what a mask leaves of the rectangle of queries and keys."""

from __future__ import annotations

from floorline.num import Num, floor, minimum, where


def visible_share(queries: Num, keys: Num) -> Num:
    r"""Share of the query × key rectangle that a causal mask leaves visible: each query sees itself and all before it.

    $$\nu = \frac{S - T + \frac{T+1}{2}}{S}$$

    queries  T  new tokens                            [-]
    keys     S  tokens attended to, new ones included  [-]
    returns  ν  visible share                         [-]

    Source: counting the pairs, T·(S − T) + T(T + 1)/2. Example: two tokens see three of four pairs.

    >>> visible_share(2.0, 2.0)
    0.75
    """
    return (keys - queries + (queries + 1.0) / 2.0) / keys


def window_share(queries: Num, before: Num, window: Num, keys: Num) -> Num:
    r"""Share of the query × key rectangle that a sliding window leaves: each query sees at most w tokens, itself among them.

    $$\nu = \frac{F(t + T) - F(t)}{T S}, \quad F(n) = \frac{m (m + 1)}{2} + w (n - m), \quad m = \min(n, w)$$

    queries  T  new tokens                                [-]
    before   t  tokens before them                        [-]
    window   w  tokens that a query sees, with itself     [-]
    keys     S  keys of the rectangle                     [-]
    returns  ν  visible share                             [-]

    Source: Beltagy et al. 2020, arXiv:2004.05150, section 3.1 (a window to the left); counting the pairs. Example: four
    tokens, a window of two: 1 + 2 + 2 + 2 of 16.

    >>> bool(window_share(4.0, 0.0, 2.0, 4.0) == 7 / 16)
    True
    """
    pairs = pairs_in_window(before + queries, window) - pairs_in_window(before, window)
    return pairs / (queries * keys)


def pairs_in_window(tokens: Num, window: Num) -> Num:
    r"""Visible pairs of a sequence under a sliding window.

    $$F(n) = \frac{m (m + 1)}{2} + w (n - m), \quad m = \min(n, w)$$

    tokens   n  tokens of the sequence                 [-]
    window   w  tokens that a query sees, with itself  [-]
    returns  F  pairs                                  [-]

    Source: counting the pairs. Example: 1 + 2 + 2 + 2.

    >>> pairs_in_window(4.0, 2.0)
    7.0
    """
    short = minimum(tokens, window)
    return short * (short + 1.0) / 2.0 + window * (tokens - short)


def around_share(tokens: Num, side: Num) -> Num:
    r"""Share of the query × key square that a window to both sides leaves: each query sees itself and its neighbours.

    $$\nu = \frac{2 F(n) - n}{n^2}, \quad F(n) = \frac{m (m + 1)}{2} + (s + 1) (n - m), \quad m = \min(n, s + 1)$$

    tokens   n  tokens of the sequence          [-]
    side     s  neighbours seen on either side  [-]
    returns  ν  visible share                   [-]

    Source: transformers, masking_utils.py, ``sliding_window_bidirectional_overlay``; counting the pairs. Example: four tokens
    that see one neighbour on either side: 2 + 3 + 3 + 2 of 16.

    >>> around_share(4.0, 1.0)
    0.625
    """
    return (2.0 * pairs_in_window(tokens, side + 1.0) - tokens) / (tokens * tokens)


def chunk_share(queries: Num, before: Num, window: Num, keys: Num) -> Num:
    r"""Share of the query × key rectangle that chunked attention leaves: each query sees what is before it in its chunk.

    $$\nu = \frac{F(t + T, w) - F(t, w)}{T S}$$

    queries  T  new tokens            [-]
    before   t  tokens before them    [-]
    window   w  tokens of a chunk     [-]
    keys     S  keys of the rectangle [-]
    returns  ν  visible share         [-]

    Source: transformers, masking_utils.py, ``chunked_overlay``; counting the pairs. Example: four tokens in chunks of two:
    1 + 2 + 1 + 2 of 16.

    >>> bool(chunk_share(4.0, 0.0, 2.0, 4.0) == 6 / 16)
    True
    """
    return (pairs_in_chunks(before + queries, window) - pairs_in_chunks(before, window)) / (queries * keys)


def pairs_in_chunks(tokens: Num, window: Num) -> Num:
    r"""Visible pairs of a sequence that is cut in chunks.

    $$F(n) = q \frac{w (w + 1)}{2} + \frac{r (r + 1)}{2}, \quad q = \lfloor n / w \rfloor, \quad r = n - q w$$

    tokens   n  tokens of the sequence  [-]
    window   w  tokens of a chunk       [-]
    returns  F  pairs                   [-]

    Source: counting the pairs. Example: 1 + 2 + 1.

    >>> float(pairs_in_chunks(3.0, 2.0))
    4.0
    """
    full = floor(tokens / window)
    rest = tokens - full * window
    return full * (window * (window + 1.0) / 2.0) + rest * (rest + 1.0) / 2.0


def meeting_point(linear: Num, quadratic: Num, other_linear: Num, other_quadratic: Num) -> Num:
    r"""Length at which two amounts of work meet, each with a part that grows with it and a part that grows with its square.

    $$n^* = \frac{c - a}{b - d}$$

    linear           a   work for each token or frame       [FLOP]
    quadratic        b   work for each pair of them         [FLOP]
    other_linear     c   the other's for each               [FLOP]
    other_quadratic  d   the other's for each pair          [FLOP]
    returns          n*  length; infinite where b is d      [-]

    Source: a·n + b·n² = c·n + d·n². Example: attention, 8·D² for each token and 4·D for each pair, and a feed-forward of 16·D²
    (an article on diffusion transformers: 2·D, 3072 for D = 1536).

    >>> float(meeting_point(8.0 * 1536.0 * 1536.0, 4.0 * 1536.0, 16.0 * 1536.0 * 1536.0, 0.0))
    3072.0
    """
    pairs = quadratic - other_quadratic
    return where(pairs == 0.0, float("inf"), (other_linear - linear) / where(pairs == 0.0, 1.0, pairs))
