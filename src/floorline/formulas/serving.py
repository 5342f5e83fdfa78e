"""A closed loop of requests: how many of an engine's steps take up prompts, and how many tokens of them.

While one request runs, each of the others ends and is replaced, so as many prompts join as requests run. Steps are counted for one
data-parallel rank.
"""

from __future__ import annotations

from floorline.num import Num, maximum, minimum


def sustained_requests(prompt: Num, later: Num, budget: Num) -> Num:
    r"""Running requests beside which steps still have room for the prompts that follow: each takes P + O tokens of the budget.

    $$C_M = \frac{M\,O}{P + O}$$

    prompt   P    tokens of a prompt                   [-]
    later    O    tokens after the first of a request  [-]
    budget   M    tokens of the largest step           [-]
    returns  C_M  running requests, at most            [-]

    Source: counting: in O steps the budget has M·O tokens. Example: steps of 1000 tokens keep 500 requests of 100 and 100 running.

    >>> sustained_requests(100.0, 100.0, 1000.0)
    500.0
    """
    return budget * later / (prompt + later)


def slot_steps(requests: Num, slots: Num, steps: Num) -> Num:
    r"""Steps that a request waits for one before it to end, where more are in flight than run at once.

    $$n_q = \max\left(\frac{C}{S} - 1,\ 0\right) n$$

    requests  C    requests in flight                [-]
    slots     S    that run at once, at most         [-]
    steps     n    steps that one runs               [-]
    returns   n_q  steps before it runs              [-]

    Source: Little 1961, Operations Research 9(3). Example: 30 requests of 200 steps, 10 at once: two turns of others.

    >>> slot_steps(30.0, 10.0, 200.0)
    400.0
    """
    return maximum(requests / slots - 1.0, 0.0) * steps


def joining_tokens(running: Num, prompt: Num, later: Num, budget: Num) -> Num:
    r"""Tokens of prompts that a step takes up beside the running requests: one prompt, or as many as end meanwhile, or what the
    budget leaves.

    $$J = \min\left(\max\left(P, \frac{C\,P}{O}\right),\ \max(M - C, 1)\right)$$

    running  C  requests in flight                   [-]
    prompt   P  tokens of a prompt                   [-]
    later    O  tokens after the first of a request  [-]
    budget   M  tokens of the largest step           [-]
    returns  J  tokens of prompts in such a step     [-]

    Source: Agrawal et al. 2024 (Sarathi-Serve), arXiv:2403.02310, section 4.2: decodes first, then prompts up to the budget.
    Example: a budget of 512 tokens with 12 decodes leaves 500 of a long prompt.

    >>> joining_tokens(12.0, 4096.0, 100.0, 512.0)
    500.0
    """
    return minimum(maximum(prompt, running * prompt / later), maximum(budget - running, 1.0))


def prompt_steps(prompt: Num, joining: Num) -> Num:
    r"""Steps that a request's own prompt takes.

    $$n_1 = \max\left(\frac{P}{J}, 1\right)$$

    prompt   P    tokens of a prompt             [-]
    joining  J    tokens of prompts in a step    [-]
    returns  n_1  steps of one prompt            [-]

    Source: Agrawal et al. 2024 (Sarathi-Serve), arXiv:2403.02310, section 4.1. Example: 4000 tokens by 500 take eight steps.

    >>> prompt_steps(4000.0, 500.0)
    8.0
    """
    return maximum(prompt / joining, 1.0)


def shared_steps(running: Num, prompt: Num, later: Num, joining: Num) -> Num:
    r"""Of the steps that make a request's later tokens, those that take up others' prompts.

    $$n_s = \min\left(\frac{(C - 1)\,P}{J},\ O\right)$$

    running  C    requests in flight                   [-]
    prompt   P    tokens of a prompt                   [-]
    later    O    tokens after the first of a request  [-]
    joining  J    tokens of prompts in a step          [-]
    returns  n_s  steps with others' prompts           [-]

    Source: Agrawal et al. 2024 (Sarathi-Serve), arXiv:2403.02310, section 3.2: a prompt stalls the decodes that it joins. Example:
    of ten requests with one-step prompts nine join while one runs.

    >>> shared_steps(10.0, 500.0, 100.0, 500.0)
    9.0
    """
    return minimum((running - 1.0) * prompt / joining, later)


def waiting_steps(running: Num, prompt: Num, later: Num, joining: Num) -> Num:
    r"""Steps that a request waits for its turn, where prompts come faster than steps take them up.

    $$n_w = \max\left(\frac{(C - 1)\,P}{J} - O,\ 0\right)$$

    running  C    requests in flight                   [-]
    prompt   P    tokens of a prompt                   [-]
    later    O    tokens after the first of a request  [-]
    joining  J    tokens of prompts in a step          [-]
    returns  n_w  steps before its own prompt          [-]

    Source: Little 1961, Operations Research 9(3): C requests of n steps each are C/n a step. Example: 101 requests with prompts of
    two steps and 100 later tokens: 200 steps of others' prompts, half of which nothing is left to share.

    >>> waiting_steps(101.0, 1000.0, 100.0, 500.0)
    100.0
    """
    return maximum((running - 1.0) * prompt / joining - later, 0.0)
