"""Bands that cover what they say: how far to move the model's quantiles at each step, learnt from past forecasts.

Everything happens in log prices, relative to the width of the model's own band: so one fit serves cheap and dear, calm
and wild symbols, prices stay positive, and what the model knows about today's volatility is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.measures.ensemble import band_levels

Array = NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9)
FORMAT = 1


@dataclass(frozen=True, eq=False)
class ConformalBands:
    """Split-conformal correction of the model's central bands of the close, for each level and step ahead.

    Conformalised quantile regression with both sides apart (Romano, Patterson & Candes 2019, "Conformalized quantile
    regression", NeurIPS), scores over the width of the band (Sesia & Candes 2020, Stat 9): with a = 1 - level,
    `low` is the ceil((n + 1)(1 - a / 2))-th smallest of (ln q_low - ln y) / (ln q_high - ln q_low) over n forecasts, `high`
    that of (ln y - ln q_high) / (...); a band moves out by so many of its widths, in where it is negative.

    If forecasts to come are exchangeable with the n, each side is missed with probability a / 2 at most. Markets are not,
    quite: symbols of one day move together and volatility changes, so the coverage found later scatters around the
    level by more than n suggests. Fit on forecasts made with the settings and the number of paths that will be used.
    """

    levels: tuple[float, ...]
    """Central shares in (0, 1), ascending."""
    low: Array
    """(levels, steps): widths by which the lower edge moves down."""
    high: Array
    """(levels, steps): widths by which the upper edge moves up."""
    counts: tuple[int, ...]
    """(steps,): forecasts with a truth that were fitted on."""

    @property
    def steps(self) -> int:
        """Bars ahead that it was fitted for."""
        return len(self.counts)

    @classmethod
    def fit(cls, paths: Sequence[ArrayLike], truths: ArrayLike, levels: Sequence[float] = LEVELS) -> ConformalBands:
        """Fit on N past forecasts, of any symbols and origins, that took no part in training.

        Args:
            paths: N arrays (P, H) of closes, e.g. one array (N, P, H); P >= 2, positive.
            truths: (N, H) closes, NaN where not known.
            levels: central shares in (0, 1).

        Raises:
            ConfigError: an impossible level.
            DataError: shapes that do not fit, closes that are not finite and above 0, paths that never differ, or
                too few forecasts: a level takes (1 + level) / (1 - level) of them at each step, 19 for 0.9.
        """
        if not len(paths):
            raise DataError("calibration takes past forecasts, found none.")
        if any(np.ndim(one) != 2 or np.shape(one)[0] < 2 for one in paths):
            raise DataError("calibration takes forecasts (paths, horizon) of at least 2 paths: a point has no spread.")
        if len({np.shape(one)[1] for one in paths}) > 1:
            raise DataError("calibration takes forecasts of one horizon, found several.")
        taus = quantile_levels(levels)
        rows = [np.quantile(np.asarray(one, np.float64), taus, axis=0) for one in paths]
        return cls.fit_quantiles(np.reshape(rows, (len(rows), len(taus), -1)), truths, levels)

    @classmethod
    def fit_quantiles(
        cls, quantiles: ArrayLike, truths: ArrayLike, levels: Sequence[float] = LEVELS, weights: ArrayLike | None = None
    ) -> ConformalBands:
        """`fit` from quantiles of the closes (N, Q, H) at `quantile_levels(levels)`, where the paths are gone.

        With weights (N,), above 0, the rank is that of the weighted scores, a forecast to come weighing as much as the heaviest
        (Barber, Candes, Ramdas & Tibshirani 2023, "Conformal prediction beyond exchangeability", Annals of Statistics 51).
        """
        ordered, taus = _ascending(levels), quantile_levels(levels)
        edges, came = np.asarray(quantiles, np.float64), np.asarray(truths, np.float64)
        if edges.ndim != 3 or edges.shape[1] != len(taus) or came.shape != (len(edges), edges.shape[2]):
            raise DataError(
                f"calibration takes quantiles (N, {len(taus)}, H) at {taus} and truths (N, H), found shapes "
                f"{edges.shape} and {came.shape}."
            )
        logs, came = _log(edges, "quantiles"), _log(came, "truths", gaps=True)
        known = ~np.isnan(came)
        mass = np.ones(len(came)) if weights is None else np.asarray(weights, np.float64)
        if mass.shape != (len(came),) or not (np.isfinite(mass).all() and (mass > 0).all()):
            raise DataError(f"calibration takes weights (N,) above 0, found shape {mass.shape} for N = {len(came)}.")
        moves: tuple[list[list[float]], list[list[float]]] = [], []
        for level in ordered:
            lower, upper = (logs[:, taus.index(tau)] for tau in band_levels(level))
            for side, missed in zip(moves, scores(lower, upper, came), strict=True):
                side.append([_rank(missed[seen, step], mass[seen], level, step) for step, seen in enumerate(known.T)])
        low, high = map(np.array, moves)
        return cls(tuple(ordered), low, high, tuple(known.sum(axis=0).tolist()))

    def apply(self, low: ArrayLike, high: ArrayLike, level: float) -> tuple[Array, Array]:
        """The model's band of closes, moved to where it covers `level`.

        Bands of two levels are moved apart from each other; where that must not let them cross, read them off
        `recalibrate`d paths.

        Args:
            low, high: the model's quantiles (1 - level) / 2 and (1 + level) / 2, positive, in price units: (..., H).
            level: one of those fitted.

        Raises:
            ConfigError: another level, or more steps than were fitted.
            DataError: closes that are not finite and above 0.
        """
        lower, upper = _log(low, "quantiles"), _log(high, "quantiles")
        place, steps, width = self._place(level), lower.shape[-1], upper - lower
        self.require(steps)
        return np.exp(lower - self.low[place, :steps] * width), np.exp(upper + self.high[place, :steps] * width)

    def recalibrate(self, closes: ArrayLike) -> Array:
        """The whole distribution moved: paths (P, H) of closes whose quantiles are the calibrated bands.

        At each step log prices go through one rising, piecewise linear map that takes the model's quantiles of all
        levels to the calibrated ones and the median to itself; beyond the outermost it goes on as wide as those are,
        seen from the median. So at each step the paths keep their order, every path stays the path it was, with its own
        rises, falls and dependence between steps (as in ensemble copula coupling: Schefzik, Thorarinsdottir & Gneiting
        2013, Statistical Science 28), and the median path does not move. Where calibrated bands would cross
        each other or the median, the outer one gives way outwards.

        Args:
            closes: (P, H), P >= 2, positive, in price units.

        Raises:
            ConfigError: more steps than were fitted.
            DataError: closes that are not finite and above 0, or fewer than 2 paths.
        """
        prices = np.asarray(closes, np.float64)
        if prices.ndim != 2 or len(prices) < 2:
            raise DataError(f"calibration takes paths (P, H) with P >= 2, found shape {prices.shape}.")
        self.require(prices.shape[1])
        logs = _log(prices, "paths")
        taus = [*quantile_levels(self.levels), 0.5]
        knots = np.log(np.quantile(prices, sorted(taus), axis=0))
        moved = np.empty_like(logs)
        for step in range(prices.shape[1]):
            moved[:, step] = _map(logs[:, step], knots[:, step], self.low[:, step], self.high[:, step])
        return np.exp(moved)

    def to_json(self) -> str:
        """As text, to keep with a run."""
        edges = {"low": self.low.tolist(), "high": self.high.tolist()}
        return json.dumps({"format": FORMAT, "levels": self.levels, **edges, "counts": self.counts})

    @classmethod
    def from_json(cls, text: str) -> ConformalBands:
        """What `to_json` wrote. CheckpointError where it is something else."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']}, this version reads {FORMAT}")
            levels, counts = tuple(map(float, raw["levels"])), tuple(map(int, raw["counts"]))
            low, high = np.array(raw["low"], np.float64), np.array(raw["high"], np.float64)
            if low.shape != (len(levels), len(counts)) or high.shape != low.shape or list(levels) != _ascending(levels):
                raise ValueError("lengths that do not fit each other")
            if not (np.isfinite(low).all() and np.isfinite(high).all()):
                raise ValueError("numbers that are not finite")
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(f"a calibration cannot be read: {error}. Fit it again.") from error
        return cls(levels, low, high, counts)

    def _place(self, level: float) -> int:
        for place, known in enumerate(self.levels):
            if abs(known - level) < 1e-9:
                return place
        levels = ", ".join(f"{one:g}" for one in self.levels)
        raise ConfigError(f"the calibration knows the levels {levels}, not {level!r}. Fit it with that level too.")

    def require(self, steps: int) -> None:
        """ConfigError where it was fitted for fewer steps."""
        if steps > self.steps:
            raise ConfigError(
                f"the calibration was fitted for {self.steps} steps ahead, found {steps}. Fit it on a longer horizon."
            )


def quantile_levels(levels: Sequence[float] = LEVELS) -> list[float]:
    """Both edges of the central bands, ascending: (0.5, 0.8) -> [0.1, 0.25, 0.75, 0.9]. ConfigError as `band_levels`."""
    return sorted(tau for level in _ascending(levels) for tau in band_levels(level))


def scores(low: Array, high: Array, came: Array) -> tuple[Array, Array]:
    """By how many widths of its band (log prices) each truth lies below the lower and above the upper edge.

    Negative inside. A band without width is missed by an infinity of them, or met.
    """
    width = high - low
    sides = []
    for miss in (low - came, came - high):
        flat = np.where(miss > 0, np.inf, 0.0)
        sides.append(np.divide(miss, width, out=flat, where=width > 0))
    return sides[0], sides[1]


def _rank(side: Array, mass: Array, level: float, step: int) -> float:
    """The finite-sample quantile of the weighted scores of one side."""
    share, n, heaviest = (1 + level) / 2, len(side), mass.max(initial=0.0)
    order = np.argsort(side, kind="stable")
    place = int(
        np.searchsorted(np.cumsum(mass[order]), (mass.sum() + heaviest) * share - 1e-9)
    )  # 20 x 0.95 is a hair above 19
    if place >= n:
        needed = int(np.ceil(share / (1 - share) - 1e-9))
        raise DataError(
            f"a calibrated {level:.0%} band takes at least {needed} past forecasts with a truth, step {step + 1} has {n}. "
            "Take more origins or symbols, or a lower level."
        )
    found = float(side[order[place]])
    if not np.isfinite(found):
        raise DataError(
            f"step {step + 1}: in too many past forecasts all paths agree and miss the truth; no stretching of such a band "
            "covers it. Forecast with more paths, or a higher temperature or top_p."
        )
    return found


def _map(values: Array, knots: Array, low: Array, high: Array) -> Array:
    """Log prices (P,) of one step through the map of `recalibrate`; knots (2 K + 1,) are their quantiles, ascending."""
    count = len(low)
    middle, below, above = knots[count], knots[:count][::-1], knots[count + 1 :]  # from the median outwards
    width = above - below
    down = np.minimum.accumulate(np.minimum(below - low * width, middle))
    up = np.maximum.accumulate(np.maximum(above + high * width, middle))
    goals = np.concatenate([down[::-1], [middle], up])
    if not knots[-1] > knots[0]:
        return values
    moved = np.interp(values, knots, goals)
    for outside, edge, goal in ((values < knots[0], knots[0], goals[0]), (values > knots[-1], knots[-1], goals[-1])):
        slope = (goal - middle) / (edge - middle) if edge != middle else 1.0
        moved[outside] = goal + (values[outside] - edge) * slope
    return np.asarray(moved, np.float64)


def _ascending(levels: Sequence[float]) -> list[float]:
    if not len(levels):
        raise ConfigError("a calibration needs at least one level, such as 0.9.")
    for level in levels:
        band_levels(level)
    return sorted({float(level) for level in levels})


def _log(prices: ArrayLike, name: str, gaps: bool = False) -> Array:
    found = np.asarray(prices, np.float64)
    bad = ~((found > 0) & (found < np.inf)) & ~(np.isnan(found) & gaps)
    if bad.any():
        raise DataError(
            f"calibration works on log prices: {int(bad.sum())} of {found.size} {name} are not finite and above 0. "
            "Forecast.repair() lifts prices at or below 0."
        )
    return np.log(found)
