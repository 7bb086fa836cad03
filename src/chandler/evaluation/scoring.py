"""Holds forecasts against what came true, and the baselines against the same; errors in percent of the last close."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data.bars import FEATURES, Bars
from chandler.errors import DataError
from chandler.evaluation import baselines, metrics
from chandler.forecasting.forecast import Forecast

MODEL, LAST_CLOSE, RANDOM_WALK = "model", "last close", "random walk"
BAND = 0.8
"""Share of the paths inside the band that reports draw and count."""
CLOSE = FEATURES.index("close")


@dataclass(frozen=True, eq=False)
class ForecastCase:
    """A forecast and, where it is known, what came true."""

    forecast: Forecast
    truth: pd.DataFrame | None = None
    """Bars in a frame that `Bars.from_frame` accepts, in the prices of the history (no adjusting happens here).
    Rows at other times than the forecast's are not looked at; forecast bars without a row are not scored."""

    @property
    def origin(self) -> pd.Timestamp:
        """Time of the last bar that the model saw."""
        return self.forecast.history.timestamps[-1]

    @property
    def last(self) -> float:
        """The last close that the model saw, in price units."""
        return float(self.forecast.history.values[-1, CLOSE])

    def came(self) -> NDArray[np.float64]:
        """What came true at the forecast's times, (horizon, 6), NaN where it is not known.

        Raises:
            DataError: a truth with a time zone where the forecast has none, or the other way round.
        """
        forecast = self.forecast
        values = np.full((forecast.horizon, len(FEATURES)), np.nan)
        if self.truth is None or not len(self.truth):
            return values
        bars = Bars.from_frame(self.truth, symbol=forecast.symbol, adjust="none")
        if (bars.timestamps.tz is None) != (forecast.timestamps.tz is None):
            raise DataError(
                f"{forecast.symbol}: of truth and forecast only one has a time zone. Localise both (tz_localize) or neither."
            )
        rows = bars.timestamps.get_indexer(forecast.timestamps)
        values[rows >= 0] = bars.values[rows[rows >= 0]]
        return values

    def walk(self, paths: int, seed: int) -> NDArray[np.float64]:
        """The random walk on the closes that the model saw: (paths, horizon)."""
        return baselines.random_walk(self.forecast.history.values[:, CLOSE], self.forecast.horizon, paths, seed=seed)


def score_cases(cases: Iterable[ForecastCase], *, paths: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Scores of the close, the model's and the baselines', in long form.

    Point forecasts are the mean of the paths and the last close; distributions are the paths. Both baselines see
    the rows that the model saw. A symbol with several cases gets the mean over them.

    Args:
        cases: those whose truth holds none of the forecast's times are left out.
        paths: of the random walk, >= 1.
        seed: of the random walk; the same draws for every case, so differences between symbols are no noise.

    Returns:
        Columns symbol, model ("model", "last close", "random walk"), measure, value. Measures: `mae`, `rmse`,
        `crps` (for the last close, a point, equal to its mae) and `band_width` in percent of the last close;
        `inside` and `steps`, how many steps lay in the 80% band and how many were scored, summed over the cases.

    Raises:
        DataError: a truth that cannot be read or matched.
    """
    rows: list[tuple[str, str, str, float]] = []
    for case in cases:
        truth = case.came()[:, CLOSE]
        if np.isnan(truth).all():
            continue
        forecasts = {
            MODEL: case.forecast.paths[:, :, CLOSE],
            LAST_CLOSE: baselines.last_close([case.last], len(truth))[None],
            RANDOM_WALK: case.walk(paths, seed),
        }
        for model, sampled in forecasts.items():
            scores = _scores(sampled, truth, case.last)
            rows += [(case.forecast.symbol, model, measure, value) for measure, value in scores.items()]
    frame = pd.DataFrame(rows, columns=["symbol", "model", "measure", "value"])
    counts = frame["measure"].isin(["inside", "steps"])
    keys = ["symbol", "model", "measure"]
    means = frame[~counts].groupby(keys, sort=False)["value"].mean()
    sums = frame[counts].groupby(keys, sort=False)["value"].sum()
    return pd.concat([means, sums]).reset_index()


def _scores(sampled: NDArray[np.float64], truth: NDArray[np.float64], last: float) -> dict[str, float]:
    percent = 100.0 / last
    point = sampled.mean(axis=0)
    scores = {
        "mae": metrics.mae(point, truth) * percent,
        "rmse": metrics.rmse(point, truth) * percent,
        "crps": metrics.crps(sampled, truth) * percent,
    }
    if len(sampled) > 1:
        hits, steps = metrics.inside(sampled, truth, BAND)
        scores["band_width"] = metrics.band_width(sampled, truth, BAND) * percent
        scores |= {"inside": float(hits), "steps": float(steps)}
    return scores


def pivot(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One measure of `score_cases` as a table: a row per symbol in the order of the cases, a column per model."""
    found = scores[scores["measure"] == measure]
    table = found.pivot(index="symbol", columns="model", values="value")
    return table.reindex(index=found["symbol"].unique())


@dataclass(frozen=True)
class Duel:
    """Who won, per symbol: lower is better."""

    wins: Sequence[str]
    losses: Sequence[str]
    ties: Sequence[str]

    @classmethod
    def of(cls, scores: pd.DataFrame, measure: str, rival: str) -> Duel:
        """The model against `rival` by `measure`, counted per symbol."""
        table = pivot(scores, measure)
        ours, theirs = table[MODEL], table[rival]
        even = np.isclose(ours, theirs, rtol=1e-9, atol=0)
        return cls(
            wins=list(table.index[(ours < theirs) & ~even]),
            losses=list(table.index[(ours > theirs) & ~even]),
            ties=list(table.index[even]),
        )

    def __len__(self) -> int:
        return len(self.wins) + len(self.losses) + len(self.ties)
