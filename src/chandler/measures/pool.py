"""Linear pools of distributions: their CRPS as a quadratic of the weights, and the weights that make it least.

With X_i, X_j independent draws of members i and j and y what came, the CRPS of the pool with weights w on the simplex is

    sum_i w_i E|X_i - y|  -  1/2 sum_ij w_i w_j E|X_i - X_j|

(Gneiting & Raftery 2007, "Strictly proper scoring rules", JASA 102, equation 21, for a mixture). The second term is
the negative of a conditionally negative definite form, so the whole is convex where the weights sum to one.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def spread(sample: Array) -> Array:
    """E|X - X'| of samples (..., P, H), P >= 2: (..., H). Over pairs of different draws, so that it is not biased by their number."""
    n = sample.shape[-2]
    # sum over i < j of (x_(j) - x_(i)) gives each sorted value the weight 2 i - n + 1, i from 0.
    weights = 2 * np.arange(n) - n + 1
    found: Array = 2 * (np.sort(sample, axis=-2) * weights[:, None]).sum(axis=-2) / (n * (n - 1))
    return found


def distance(one: Array, other: Array) -> Array:
    """E|X - Y| (H,) of samples (P, H) and (Q, H): the integral of F (1 - G) + G (1 - F), in the time of a sort."""
    both = np.concatenate([one, other])
    order = np.argsort(both, axis=0)
    first = order < len(one)
    f = np.cumsum(first, axis=0)[:-1] / len(one)
    g = np.cumsum(~first, axis=0)[:-1] / len(other)
    apart = np.diff(np.take_along_axis(both, order, axis=0), axis=0)
    found: Array = ((f * (1 - g) + g * (1 - f)) * apart).sum(axis=0)
    return found


def pool_crps(weights: Array, missed: Array, apart: Array) -> Array:
    """CRPS (...) of pools with weights (k,), from misses (..., k) and distances (..., k, k)."""
    return np.asarray(missed @ weights - 0.5 * np.einsum("i,...ij,j->...", weights, apart, weights), np.float64)


def pool_weights(missed: Array, apart: Array, prior: Array, strength: float) -> Array:
    """The weights (k,) on the simplex with the least CRPS + strength / 2 * |w - prior|^2.

    Every support is tried, which is exact and for a handful of members quicker than a solver.

    Args:
        missed: (k,) mean E|X_i - y|.
        apart: (k, k) mean E|X_i - X_j|.
        prior: (k,) on the simplex.
        strength: > 0, in the unit of the CRPS.
    """
    k = len(missed)
    quadratic = strength * np.eye(k) - apart
    linear = missed - strength * prior
    best, least = prior, np.inf
    for size in range(1, k + 1):
        for support in map(list, combinations(range(k), size)):
            system = np.ones((size + 1, size + 1))
            system[:size, :size], system[size, size] = quadratic[np.ix_(support, support)], 0.0
            found = np.linalg.lstsq(system, np.append(-linear[support], 1.0), rcond=None)[0][:size]
            if found.min() < 0:
                continue
            weights = np.zeros(k)
            weights[support] = found / found.sum()
            value = float(linear @ weights + 0.5 * weights @ quadratic @ weights)
            if value < least:
                best, least = weights, value
    return best
