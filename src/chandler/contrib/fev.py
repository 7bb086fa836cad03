"""Kronos on the tasks of fev, a benchmark of forecasting: `KronosModel` predicts what `Task.evaluation_summary` scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.contrib import MissingLibrary
from chandler.contrib.series import columns_as_bars
from chandler.forecasting import Forecaster, ForecastSettings

try:
    import fev
    from datasets import Dataset, DatasetDict
except ImportError as error:
    raise MissingLibrary("fev", error) from error

__all__ = ["KronosModel"]

_OF_THE_MEAN = {"RMSE", "RMSSE", "MSE"}
"""Metrics that the mean of a distribution is best at; all others are told its median."""
_SERIES = 256
"""Series that are forecast at a time."""


class KronosModel(fev.ForecastingModel):
    """`fit_predict(task)` gives a DatasetDict for each window of a task: a point and the quantiles asked for, of every target.

    A target is forecast from its own past, each value a candle without a body. Where targets and past_dynamic_columns together
    are open, high, low and close (and volume, amount), they are one symbol's candles. Other covariates are not looked at.
    Values that lack are taken from the time before. The point is the median of the paths, their mean for squared errors.

    Args:
        model: as `Forecaster.from_pretrained`.
        settings: how forecasts are made: paths, sampling, lookback, calibrated, ...
        seed: as `Forecaster.forecast`.
        device: as `Forecaster.from_pretrained`.

    Raises:
        CheckpointError, ConfigError: as `Forecaster.from_pretrained`.
        DataError: in `fit_predict`: a series of fewer than 2 values, for example; the task's min_context_length=2 leaves these
            out.
    """

    model_name = "chandler"

    def __init__(
        self,
        model: Any = "chandler-nano",
        settings: ForecastSettings | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        super().__init__()
        self.forecaster = Forecaster.from_pretrained(model, device=device)
        self.settings = settings or ForecastSettings()
        self.seed = seed

    def _fit_predict(self, task: fev.Task) -> list[DatasetDict]:
        windows = list(task.iter_windows())
        with self._record_inference_time():
            return [self._predict(task, window) for window in windows]

    def _predict(self, task: fev.Task, window: fev.EvaluationWindow) -> DatasetDict:
        past, future = (part.with_format("numpy") for part in window.get_input_data())
        made: dict[str, list[NDArray[np.float64]]] = {target: [] for target in task.target_columns}
        for begin in range(0, len(past), _SERIES):
            chosen = range(begin, min(begin + _SERIES, len(past)))
            for target, rows in self._rows(task, past.select(chosen), future.select(chosen)).items():
                made[target] += rows
        names = list(task.predictions_schema)
        return DatasetDict({
            target: Dataset.from_dict(
                {name: [row[place] for row in rows] for place, name in enumerate(names)}, features=task.predictions_schema
            )
            for target, rows in made.items()
        })  # fmt: skip

    def _rows(self, task: fev.Task, past: Dataset, future: Dataset) -> dict[str, list[NDArray[np.float64]]]:
        """For each target and series the point and the quantiles (1 + Q, horizon)."""
        targets = task.target_columns
        columns = [*targets, *task.past_dynamic_columns]
        groups, times, owners = [], [], []
        for number, (seen, to_come) in enumerate(zip(past, future, strict=True)):
            moments = pd.DatetimeIndex(seen[task.timestamp_column])
            frame = pd.DataFrame({name: seen[name] for name in columns}).ffill().bfill()
            for group in columns_as_bars(frame, moments, str(seen[task.id_column])):
                if min(group.features) < len(targets):
                    groups.append(group)
                    times.append(pd.DatetimeIndex(to_come[task.timestamp_column]))
                    owners.append(number)
        series = [group.bars for group in groups]
        forecasts = self.forecaster.forecast_with(
            self.settings, series, task.horizon, seed=self.seed, timestamps=times, progress=False
        )
        metric = task.eval_metric if isinstance(task.eval_metric, str) else task.eval_metric["name"]
        found = {target: [np.empty(0)] * len(past) for target in targets}
        for group, owner, forecast in zip(groups, owners, forecasts, strict=True):
            for column, feature in group.features.items():
                if column < len(targets):
                    paths = forecast.paths[:, :, feature]
                    point = paths.mean(axis=0) if metric in _OF_THE_MEAN else np.median(paths, axis=0)
                    levels = np.quantile(paths, task.quantile_levels, axis=0)
                    found[targets[column]][owner] = np.vstack([point[None], levels])
        return found
