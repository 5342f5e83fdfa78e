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


def torus_2d_distance(ranks: Num) -> Num:
    r"""Mean hops from a device to all of a two-dimensional torus, itself among them, at least.

    No more than 4r devices are r hops away, however it is folded or twisted.

    $$d = \frac{2 R (R + 1) (2 R + 1)}{3 n}, \quad n = 2 R^2 + 2 R + 1$$

    ranks    n  devices    [-]
    returns  d  mean hops  [-]

    Source: counting the devices of a square lattice within R hops; Dally and Towles, "Principles and practices of interconnection
    networks", section 3.3 (hops over channels bound throughput). Example: a device, its four neighbours and eight two hops away.

    >>> float(torus_2d_distance(13.0)) == (4 * 1 + 8 * 2) / 13
    True
    """
    radius = (power(maximum(2.0 * ranks - 1.0, 1.0), 0.5) - 1.0) / 2.0
    return 2.0 * radius * (radius + 1.0) * (2.0 * radius + 1.0) / (3.0 * ranks)


def torus_3d_distance(ranks: Num) -> Num:
    r"""Mean hops from a device to all of a three-dimensional torus, itself among them, at least.

    No more than 4r² + 2 devices are r hops away, however it is folded or twisted.

    $$d = \frac{R (R + 1) (R^2 + R + 1)}{n}, \quad n \geq \frac{4 R^3 + 6 R^2 + 8 R + 3}{3}$$

    ranks    n  devices    [-]
    returns  d  mean hops  [-]

    Source: counting the devices of a cubic lattice within R hops; Dally and Towles, "Principles and practices of interconnection
    networks", section 3.3 (hops over channels bound throughput); R is a little less than the root. Example: of seven devices
    six are a hop away.

    >>> bool(0.5 < torus_3d_distance(7.0) <= 6 / 7)
    True
    """
    above = power(0.75 * ranks, 1.0 / 3.0)
    radius = maximum(power(maximum(0.75 * ranks - 1.25 * above, 0.0), 1.0 / 3.0) - 0.5, 0.0)
    return radius * (radius + 1.0) * (radius * radius + radius + 1.0) / ranks
