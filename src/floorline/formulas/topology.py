"""How much of its links a device can use, by how the links join devices, and what a torus cannot do faster."""

from __future__ import annotations

from floorline.num import Num, maximum, minimum, power


def mesh_share(present: Num, places: Num) -> Num:
    r"""Share of its links that a device of a full mesh can use: those to the devices that take part.

    $$\sigma = \frac{n - 1}{N - 1}$$

    present  n  devices that take part       [-]
    places   N  devices that the level joins [-]
    returns  σ  share of the links           [-]

    Source: AMD, "CDNA 3 white paper", eight devices with a link to each other one. Example: two of eight use one of seven.

    >>> float(mesh_share(2.0, 8.0)) == 1 / 7
    True
    """
    return minimum(1.0, maximum(present - 1.0, 1.0) / maximum(places - 1.0, 1.0))


def neighbour_share(present: Num, neighbours: Num) -> Num:
    r"""Share of its links that a device can use where two of them lead to each neighbour, at most.

    $$\sigma = \min\left(1, \frac{n - 1}{k}\right)$$

    present     n  devices that take part                                                       [-]
    neighbours  k  half of its links: 3 in a hybrid cube mesh of six, the dimensions of a torus [-]
    returns     σ  share of the links, at most                                                  [-]

    Source: NVIDIA, "DGX-1 with Tesla V100 system architecture" (2017), figure of the cube mesh; Jouppi et al. 2023, "TPU v4", ISCA,
    section 2 (a torus has two links a dimension). Example: two devices use two of six links.

    >>> float(neighbour_share(2.0, 3.0)) == 1 / 3
    True
    """
    return minimum(1.0, maximum(present - 1.0, 1.0) / neighbours)


def torus_exchange_bytes(message: Num, ranks: Num, dimensions: Num) -> Num:
    r"""What an all-to-all on a torus takes, in bytes through all links of one device: half of all data crosses the middle, where
    only a cut's links are.

    $$V = \frac{k}{4} n^{1/k} M, \quad n > 1$$

    message     M  buffer of one rank            [B]
    ranks       n  ranks of the group            [-]
    dimensions  k  of the torus, 2k links each   [-]
    returns     V  bytes at the rate of all links together, at least  [B]

    Source: Dally and Towles, "Principles and practices of interconnection networks", section 3.3 (bisection): n/2 ranks send M/2
    each through 2·n/n^(1/k) links. Example: 256 ranks on 16 × 16, eight times the buffer.

    >>> float(torus_exchange_bytes(1.0, 256.0, 2.0))
    8.0
    """
    return dimensions / 4.0 * power(ranks, minimum(1.0, 1.0 / dimensions)) * message  # a torus has a dimension at least
