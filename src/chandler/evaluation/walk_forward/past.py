"""Forecasts of past windows and what came of them, from which a calibration of any moment after them is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data import CLOSE, LOW, Bars
from chandler.errors import DataError
from chandler.evaluation.walk_forward.forecasters import forecast_windows
from chandler.evaluation.walk_forward.origins import Ints, Origins
from chandler.evaluation.walk_forward.part_store import chunks_of, in_chunks
from chandler.forecasting import (
    NAIVE,
    PRICE_FLOOR,
    Calibration,
    Forecast,
    Forecaster,
    ForecastSettings,
    OutOfFold,
    PastForecast,
    PoolTerms,
    fit_bands,
    fit_blend,
    resampled_bars,
    spacing,
)
from chandler.measures import compare, crps
from chandler.progress import Progress

Array = NDArray[np.float64]
LEVELS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
"""Central bands that are fitted, as far as there are windows enough."""
LEAST = 30
"""Windows below which the fit would be a guess."""
LEAST_ORIGINS = 10
LEAST_APART = 5
"""Origins that share no bars: then each block of time can be judged by a blend that was fitted without its bars."""
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class PastForecasts:
    """N forecasts in the order of their origins, and what came."""

    how: ForecastSettings
    origins: Origins
    """Their windows; rounds are numbered without gaps."""
    each: tuple[PastForecast, ...]
    terms: PoolTerms

    @classmethod
    def make(
        cls, forecaster: Forecaster, how: ForecastSettings, origins: Origins, seed: int, shown: Progress, label: str
    ) -> Self:
        """Forecast the windows. DataError: too few windows or origins for a calibration."""
        overlap = -(-origins.horizon // origins.apart)
        _enough(len(origins), len(np.unique(origins.rounds)), overlap)

        def forecast(windows: Ints) -> list[PastForecast | None]:
            made = forecast_windows(forecaster, how, origins, windows, seed)
            return [
                past_forecast(one, origins.bars(int(window))[1], own)
                for one, window, own in zip(made, windows, origins.seeds(seed, windows), strict=True)
            ]

        chunks = in_chunks(chunks_of(len(origins), _CHUNK), forecast, shown.track(label, len(origins)))
        found = [one for some in chunks for one in some]
        shown.note(f"{label}: fitting blend and bands to {sum(one is not None for one in found):,} windows")
        return cls.of(how, origins, found)

    @classmethod
    def of(cls, how: ForecastSettings, origins: Origins, found: Sequence[PastForecast | None]) -> Self:
        """From what `past_forecast` made of each window. DataError: too few are left."""
        kept = origins.take(np.array([one is not None for one in found])).counted()
        _enough(len(kept), int(kept.rounds.max(initial=-1)) + 1, -(-origins.horizon // origins.apart))
        each = tuple(one for one in found if one is not None)
        return cls(how, kept, each, PoolTerms.of(each, kept.rounds))

    def fit(self, until: int | None = None) -> Calibration:
        """Blend and bands, from the forecasts whose bars had all come at a moment, ns; None: from all.

        The blend is fitted by origin. Bands are fitted on pools by blends that did not see the block of time they are
        judged on; so is what the calibration says of its own worth.

        Raises:
            DataError: too few of them had come.
        """
        origins, overlap = self.origins, -(-self.origins.horizon // self.origins.apart)
        ends = np.asarray(origins.store.timestamps)[origins.rows + origins.horizon]
        if until is not None:
            late = origins.rounds[ends > until]
            origins = origins.take(origins.rounds < (late.min() if len(late) else np.inf))
        windows, rounds = len(origins), origins.rounds
        count = int(rounds.max(initial=-1)) + 1
        _enough(windows, count, overlap)
        past = self.each[:windows]
        blend, pools = fit_blend(past, rounds, overlap, self.terms.first(count))
        levels = [level for level in LEVELS if -(-count // overlap) >= (1 + level) / (1 - level)]
        return Calibration(
            bands=fit_bands(pools, np.stack([one.came for one in past]), levels, rounds, overlap),
            sampling=self.how.sampling,
            lookback=origins.lookback,
            paths=self.how.paths,
            windows=windows,
            first=str(pd.Timestamp(int(origins.targets().min()))),
            last=str(pd.Timestamp(int(ends[:windows].max()))),
            anchor=self.how.anchor,
            origins=count,
            blend=blend,
            judged=_judged(past, pools, origins),
            interval=spacing(origins.store),
        )


def past_forecast(forecast: Forecast, truth: Bars, seed: int) -> PastForecast | None:
    """What was forecast and came; None where nothing moves, or prices have no logarithm."""
    values, came = forecast.history.values, truth.values[:, CLOSE]
    if values[:, : CLOSE + 1].min() <= 0 or came.min() <= 0:
        return None
    last, unit = float(values[-1, CLOSE]), float(np.diff(np.log(values[:, CLOSE])).std())
    if not unit > 0:
        return None
    count, horizon = forecast.paths.shape[:2]
    own = np.maximum(forecast.paths[..., CLOSE], PRICE_FLOOR * float(values[:, LOW].min()))
    naive = (resampled_bars(values, horizon, count, seed, kind)[..., CLOSE] for kind in NAIVE.values())
    logs = [np.log(one / last) / unit for one in (own, *naive)]
    return PastForecast(logs[0], tuple(logs[1:]), np.log(came / last) / unit)


def _judged(past: Sequence[PastForecast], pools: Sequence[Array], origins: Origins) -> OutOfFold:
    """What the blend is worth against the better of its naive members."""
    samples = {"blend": pools, "model": [one.model for one in past]}
    samples |= {name: [one.naive[place] for one in past] for place, name in enumerate(NAIVE)}
    losses = {
        name: np.array([crps(made, one.came).mean() for made, one in zip(each, past, strict=True)])
        for name, each in samples.items()
    }
    means = {name: float(pd.Series(each).groupby(origins.rounds).mean().mean()) for name, each in losses.items()}
    naive = min(NAIVE, key=lambda name: means[name])
    against = compare(losses["blend"], losses[naive], origins.rounds, origins.horizon, stride=origins.apart)
    base = against.mean_b
    return OutOfFold(
        naive,
        means["model"] / base - 1,
        against.difference / base,
        against.low / base,
        against.high / base,
        against.verdict,
    )


def _enough(windows: int, rounds: int, overlap: int) -> None:
    """DataError where the fit would be a guess, or no block of time could be judged by what shares no bars with it."""
    apart = -(-rounds // overlap)
    if windows < LEAST or rounds < LEAST_ORIGINS:
        raise DataError(
            f"a calibration needs at least {LEAST} windows at {LEAST_ORIGINS} different times, found {windows} at {rounds}. "
            "Lower the stride, give more bars, or train with a longer validation period."
        )
    if apart < LEAST_APART:
        raise DataError(
            f"a calibration needs {LEAST_APART} windows one after the other that share no bars, and the {rounds:,} times found "
            f"make {apart}. Give more bars, lower the horizon, or train with a longer validation period."
        )
