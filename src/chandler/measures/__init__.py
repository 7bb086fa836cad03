"""What a forecast is worth: pure functions of arrays, that know nothing of bars, models or folders.

`point`, `distribution`, `volatility` and `correlation` judge forecasts against what came true; `ensemble` says what paths
mean without a truth; `bootstrap` and `significance` say whether a difference is chance; `conformal` and
`adaptive_conformal` correct bands; `pool` mixes distributions. `RISING` names the measures that are no losses.
"""

from __future__ import annotations

from chandler.measures.adaptive_conformal import AdaptiveBands, adaptive_bands
from chandler.measures.bootstrap import Interval, block_bootstrap, optimal_block, share_interval
from chandler.measures.conformal import ConformalBands, quantile_levels
from chandler.measures.correlation import Kind, cross_section, ic, rank_correlation, rank_ic, ranks
from chandler.measures.distribution import PIT_BINS, band, crps, inside, pinball, pit, pit_bins
from chandler.measures.ensemble import ReturnKind, band_levels, path_variance, returns, share_above
from chandler.measures.point import direction, log_returns, naive_error, scaled
from chandler.measures.pool import distance, pool_crps, pool_weights, spread
from chandler.measures.significance import (
    Comparison,
    Estimate,
    compare,
    diebold_mariano,
    group_difference,
    newey_west_t,
)
from chandler.measures.volatility import qlike, r2, realised_variance, variance_mae

RISING = ("rank_ic",)
"""Measures that are to rise; every other one is a loss."""


def higher_is_better(measure: str | None) -> bool:
    """Whether a measure is to rise; one that is not known is not."""
    return measure in RISING


def is_better(measure: str, score: float, than: float) -> bool:
    """Whether a score is better than another one, strictly."""
    return score > than if higher_is_better(measure) else score < than


def gain(measure: str, start: float, best: float) -> str:
    """ "12.3% lower"; of a measure that is to rise the difference, since its zero is no error: "0.031 higher"."""
    if higher_is_better(measure):
        return f"{best - start:.3g} higher"
    return f"{(start - best) / abs(start) if start else 0.0:.1%} lower"


__all__ = [
    "PIT_BINS",
    "RISING",
    "AdaptiveBands",
    "Comparison",
    "ConformalBands",
    "Estimate",
    "Interval",
    "Kind",
    "ReturnKind",
    "adaptive_bands",
    "band",
    "band_levels",
    "block_bootstrap",
    "compare",
    "cross_section",
    "crps",
    "diebold_mariano",
    "direction",
    "distance",
    "gain",
    "group_difference",
    "higher_is_better",
    "ic",
    "inside",
    "is_better",
    "log_returns",
    "naive_error",
    "newey_west_t",
    "optimal_block",
    "path_variance",
    "pinball",
    "pit",
    "pit_bins",
    "pool_crps",
    "pool_weights",
    "qlike",
    "quantile_levels",
    "r2",
    "rank_correlation",
    "rank_ic",
    "ranks",
    "realised_variance",
    "returns",
    "scaled",
    "share_above",
    "share_interval",
    "spread",
    "variance_mae",
]
