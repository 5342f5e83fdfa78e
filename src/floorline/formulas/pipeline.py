"""Pipeline parallelism of inference: micro-batches in stages.

A batch is cut into as many micro-batches as there are stages, or as many as it has sequences. A token passes all stages, one after
the other, so a micro-batch takes as long as without stages. While decoding, other micro-batches are in the other stages meanwhile;
of a prompt, they follow one another.
"""

from __future__ import annotations

from floorline.num import Num, ceil, minimum


def micro_batch(sequences: Num, stages: Num) -> Num:
    r"""Sequences of the largest of as many micro-batches as there are stages, or sequences.

    $$b = \left\lceil \frac{B}{\min(B, p)} \right\rceil$$

    sequences  B  of the batch             [-]
    stages     p  of the pipeline          [-]
    returns    b  of one micro-batch       [-]

    Source: Huang et al. 2018 (GPipe), arXiv:1811.06965, section 2.3. Example: 32 sequences on 8 stages go by fours.

    >>> float(micro_batch(32.0, 8.0))
    4.0
    """
    return ceil(sequences / minimum(sequences, stages))


def pipeline_stretch(sequences: Num, stages: Num) -> Num:
    r"""How much longer a prompt's batch takes than one of its micro-batches, which follow each other a stage behind.

    $$s = 1 + \frac{\min(B, p) - 1}{p}$$

    sequences  B  of the batch             [-]
    stages     p  of the pipeline          [-]
    returns    s  over one micro-batch     [-]

    Source: Huang et al. 2018 (GPipe), arXiv:1811.06965, section 2.3: a bubble of (p − 1) / (m + p − 1) of the time, with m = p
    micro-batches. Example: with four stages and four micro-batches the bubble is 3/7, so seven stage times of four are 1.75 passes.

    >>> pipeline_stretch(64.0, 4.0)
    1.75
    """
    return 1.0 + (minimum(sequences, stages) - 1.0) / stages
