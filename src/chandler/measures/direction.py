"""Which way a validation measure is better, and a gain in words. Knows names and numbers only."""

from __future__ import annotations

HIGHER_IS_BETTER = frozenset({"rank_ic"})
"""Measures that are to rise; all others are to fall."""


def is_better(measure: str, score: float, than: float) -> bool:
    """Whether a score is better than another one, strictly."""
    return score > than if measure in HIGHER_IS_BETTER else score < than


def gain(measure: str, start: float, best: float) -> str:
    """ "12.3% lower"; of a measure that is to rise the difference, since its zero is no error: "0.031 higher"."""
    if measure in HIGHER_IS_BETTER:
        return f"{best - start:.3g} higher"
    return f"{(start - best) / abs(start) if start else 0.0:.1%} lower"
