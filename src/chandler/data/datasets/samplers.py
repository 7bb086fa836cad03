"""Draws the windows of an epoch with symbols weighted by the size of their history: none of them twice."""

from __future__ import annotations

import numpy as np


def sample_quotas(
    counts: np.ndarray,
    drawn: int,
    exponent: float,
    generator: np.random.Generator,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """How many windows of each symbol an epoch draws: (S,) int64, `drawn` in all, none above `counts` (S,).

    Symbol s is to have a share proportional to counts[s] ** exponent: 1 draws by rows, 0 gives every symbol the
    same; times weights[s] > 0, where given. A symbol with fewer windows than its share gives all of them, and the
    others share what it leaves. Shares that are no whole numbers are rounded up or down at random, so that over many
    epochs they hold exactly.
    """
    counts = np.asarray(counts, np.int64)
    assert 0 <= drawn <= counts.sum()
    quotas = np.zeros(len(counts), np.int64)
    factors = np.ones(len(counts)) if weights is None else np.asarray(weights, np.float64)
    weights = np.where(counts > 0, factors * np.maximum(counts, 1) ** float(exponent), 0.0)
    open_, left = counts > 0, drawn
    while left and open_.any():
        target = np.where(open_, left * weights / weights[open_].sum(), 0.0)
        full = open_ & (target >= counts)
        if not full.any():
            quotas += _rounded(target, left, generator)
            break
        quotas[full] = counts[full]
        left -= int(counts[full].sum())
        open_ &= ~full
    # Rounding errors of floats may ask one window too many of a symbol: another one with room gives it.
    quotas = np.minimum(quotas, counts)
    room = np.argsort(quotas - counts, kind="stable")[: drawn - int(quotas.sum())]
    quotas[room] += 1
    return quotas


def _rounded(target: np.ndarray, total: int, generator: np.random.Generator) -> np.ndarray:
    """Whole numbers of sum `total`, each within 1 of its target and equal to it on average (systematic sampling)."""
    order = generator.permutation(len(target))
    edges = np.cumsum(target[order])
    edges[-1] = total
    marks = np.floor(np.concatenate([[0.0], edges]) + generator.random()).astype(np.int64)
    whole = np.empty(len(target), np.int64)
    whole[order] = np.diff(marks)
    return whole


def weighted_sample(
    counts: np.ndarray, drawn: int, exponent: float, *, seed: int, epoch: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """The windows of an epoch in their order, (drawn,) int64: each at most once. Depends on its arguments only.

    Windows are numbered symbol after symbol, `counts` (S,) of each; `weights` as in `sample_quotas`.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    quotas = sample_quotas(counts, drawn, exponent, generator, weights)
    first = np.concatenate([[0], np.cumsum(counts)])
    parts = [
        first[symbol] + generator.choice(int(counts[symbol]), int(quotas[symbol]), replace=False, shuffle=False)
        for symbol in np.flatnonzero(quotas)
    ]
    return generator.permutation(np.concatenate(parts)) if parts else np.empty(0, np.int64)
