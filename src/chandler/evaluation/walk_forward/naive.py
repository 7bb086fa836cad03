"""The baselines as contenders of an evaluation: they see the rows that the models are given, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chandler.data.columns import CLOSE, FEATURES, VOLUME
from chandler.data.store.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.baselines import BASELINES, Baseline, close_windows, volume_by_time_of_day
from chandler.evaluation.walk_forward.forecasters import EvaluatedForecaster, seeds
from chandler.evaluation.walk_forward.origins import Origins
from chandler.evaluation.walk_forward.scores import ForecastSummary
from chandler.evaluation.walk_forward.settings import VOLUME_BASELINE, EvaluationSettings


class BaselineForecaster:
    """A baseline of the close."""

    def __init__(self, baseline: Baseline, settings: EvaluationSettings, facts: Mapping[str, Any]) -> None:
        self.baseline, self.settings, self.facts = baseline, settings, facts
        self.said: dict[str, int] = {}

    @property
    def notes(self) -> list[str]:
        """What it had to do more simply, and how often."""
        return [f"{self.baseline.name}: {text} ({count:,} windows)." for text, count in self.said.items()]

    def samples(self, origins: Origins, windows: NDArray[np.int64]) -> dict[str, list[ForecastSummary]]:
        """A sample of each window."""
        s, found = self.settings, []
        for window, seed in zip(windows, seeds(s, origins, windows), strict=True):
            closes = origins.bars(int(window))[0].values[:, CLOSE]
            paths = self.baseline.sample(closes, s.horizon, s.paths, seed=seed, note=self._note)
            found.append(ForecastSummary.of_closes(paths, len(closes)))
        return {self.baseline.name: found}

    def _note(self, text: str) -> None:
        self.said[text.rstrip(".")] = self.said.get(text.rstrip("."), 0) + 1


class NaiveVolume:
    """The volume as it usually is at that time of day; says nothing of prices."""

    facts: Mapping[str, Any] = {"kind": "baseline"}
    notes: tuple[str, ...] = ()

    def samples(self, origins: Origins, windows: NDArray[np.int64]) -> dict[str, list[ForecastSummary]]:
        """A sample of each window."""
        found = []
        for window in windows:
            history, truth = origins.bars(int(window))
            mean = np.full((origins.horizon, len(FEATURES)), np.nan)
            mean[:, VOLUME] = volume_by_time_of_day(history.values[:, VOLUME], history.timestamps, truth.timestamps)
            found.append(ForecastSummary(None, mean, len(history)))
        return {VOLUME_BASELINE: found}


def make_baseline(name: str, settings: EvaluationSettings, store: BarStore, origins: Origins) -> EvaluatedForecaster:
    """The baseline of a name, fitted where it must be: on windows that end before the first bar that is forecast.

    Raises:
        DataError: too few rows before the evaluation to fit on.
    """
    if name == VOLUME_BASELINE:
        return NaiveVolume()
    baseline = BASELINES[name]
    if not baseline.needs_fit:
        return BaselineForecaster(baseline, settings, {"kind": "baseline"})
    first = int(origins.targets().min())
    times = np.asarray(store.timestamps)
    ends = [
        int(lo) + int(np.searchsorted(times[lo:hi], first))
        for lo, hi in zip(store.offsets[:-1], store.offsets[1:], strict=True)
    ]
    ranges = np.stack([store.offsets[:-1], np.asarray(ends, np.int64)], axis=1)
    closes = close_windows(store, ranges, settings.lookback, settings.horizon, seed=settings.seed)
    try:
        fitted = baseline.fit(closes, settings.horizon, seed=settings.seed)
    except DataError as error:
        raise DataError(
            f"it is trained on the bars before the first that is forecast, and there are too few ({str(error).split(';')[0]}). "
            "Set start later to have it."
        ) from None
    return BaselineForecaster(
        fitted, settings, {"kind": "baseline", "fitted_on": len(closes), "before": str(np.datetime64(first, "ns"))}
    )
