"""Kronos as a forecaster of sktime: `KronosForecaster`, for frames of bars and for any other series."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.contrib import MissingLibrary
from chandler.contrib.series import columns_as_bars
from chandler.forecasting import Forecaster

try:
    from sktime.datatypes import update_data
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
    from sktime.utils.validation.forecasting import check_fh
except ImportError as error:
    raise MissingLibrary("sktime", error) from error

__all__ = ["KronosForecaster"]

_ROWS = 20_000
"""Rows that are kept: no model sees more, and no calendar is learnt from more."""
_EPOCH = pd.Timestamp("2000-01-03")
"""Where a series that is only counted begins: its rows are shown to the model as days from this Monday on."""


@lru_cache(maxsize=2)
def _load(model: str, device: str, written: int) -> Forecaster:
    """The models, once for all clones that sktime makes; `written` tells a folder that was trained again."""
    return Forecaster.from_pretrained(model, device=device)


class KronosForecaster(BaseForecaster):
    """Kronos forecasts bars, or any other series, as equally likely paths; nothing is fitted but what is remembered.

    Columns open, high, low and close (and volume, amount; any capitals) of y are one symbol's candles, forecast together.
    Every other column is a series of its own, forecast from its own values as candles without a body, beside the others.
    `predict` is the mean of the paths; `predict_quantiles` and `predict_interval` are theirs, and `predict_proba` (with
    skpro) is the paths themselves. Calls with the same seed draw the same paths, so all of these fit together.

    Times without a regular step, such as trading days with holidays, are fine: a relative `fh` counts bars, which come when
    `calendar` says, and an absolute one is taken as the times of the next bars. A series that is only counted is shown to
    the model as daily bars. Bars that were seen are not forecast: no in-sample predictions.

    Args:
        model: what `Forecaster.from_pretrained` takes, as text: "chandler-nano", which comes with the package, a run folder, or
            a released predictor such as "NeoQuasar/Kronos-small".
        paths, lookback, temperature, top_p, top_k, seed, calendar, calibrated, repair: as `Forecaster.forecast`.
        device: as `Forecaster.from_pretrained`.

    Raises:
        CheckpointError, ConfigError, DataError: in `fit` and `predict`, as `Forecaster.from_pretrained` and
            `Forecaster.forecast`.

    Examples:
        >>> from sktime.datasets import load_airline
        >>> from chandler.contrib.sktime import KronosForecaster
        >>> forecaster = KronosForecaster(paths=20, lookback=48).fit(load_airline())
        >>> forecaster.predict_interval(fh=[1, 2, 3], coverage=0.8).shape
        (3, 2)
    """

    _fh: Any
    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["The chandler authors"],
        "y_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:missing_values": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:update": True,
        "requires-fh-in-fit": False,
        "enforce_index_type": None,
    }
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}  # the rows that are needed are kept here

    def __init__(
        self,
        model: str = "chandler-nano",
        paths: int = 100,
        lookback: int | None = None,
        temperature: float = 1.0,
        top_p: float | None = 1.0,
        top_k: int | None = 0,
        seed: int = 0,
        calendar: str | None = None,
        calibrated: bool = False,
        repair: bool = False,
        device: str = "auto",
    ) -> None:
        self.model = model
        self.paths = paths
        self.lookback = lookback
        self.temperature = temperature
        self.top_p = top_p
        self.top_k = top_k
        self.seed = seed
        self.calendar = calendar
        self.calibrated = calibrated
        self.repair = repair
        self.device = device
        super().__init__()

    def __post_init__(self) -> None:
        self._y, self._X = None, None

    def _fit(self, y: pd.DataFrame, X: Any, fh: Any) -> KronosForecaster:
        self._forecaster()
        self._seen = y.tail(_ROWS)
        return self

    def _update(self, y: pd.DataFrame, X: Any = None, update_params: bool = True) -> KronosForecaster:
        """New rows are seen, whatever is asked of parameters: there are none."""
        self._seen = update_data(self._seen, y).tail(_ROWS)
        return self

    def _predict(self, fh: Any, X: Any) -> pd.DataFrame:
        index, paths = self._sample(fh)
        return pd.DataFrame(paths.mean(axis=0), index, self._seen.columns)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> pd.DataFrame:
        index, paths = self._sample(fh)
        values = np.quantile(paths, alpha, axis=0).transpose(1, 2, 0).reshape(len(index), -1)
        return pd.DataFrame(values, index, pd.MultiIndex.from_product([self._get_varnames(), alpha]))

    def _predict_proba(self, fh: Any, X: Any, marginal: bool = True) -> Any:
        from skpro.distributions import Empirical

        index, paths = self._sample(fh)
        rows = pd.MultiIndex.from_product([range(len(paths)), index])
        sample = pd.DataFrame(paths.reshape(len(rows), -1), rows, self._seen.columns)
        return Empirical(sample, time_indep=marginal, index=index, columns=self._seen.columns)

    def _check_fh(self, fh: Any, pred_int: bool = False) -> Any:
        """As sktime's, but of absolute times without a regular step, which it cannot count, only whether they are to come."""
        if fh is not None:
            fh = check_fh(fh, freq=self._cutoff)
        asked = self._fh if fh is None else fh
        if asked is None or asked.is_relative or asked.freq is not None or asked.to_pandas().dtype.kind != "M":
            return super()._check_fh(fh, pred_int)
        if asked.to_pandas().min() <= self._cutoff[-1]:
            raise NotImplementedError(f"{type(self).__name__} can not perform in-sample prediction. Found: {asked}")
        self._fh = asked
        return asked

    def _forecaster(self) -> Forecaster:
        weights = Path(self.model).expanduser().glob("*/*.safetensors")
        return _load(str(self.model), self.device, max((path.stat().st_mtime_ns for path in weights), default=0))

    def _sample(self, fh: Any) -> tuple[pd.Index, NDArray[np.float64]]:
        """The index of a horizon (F,), and paths there (paths, F, columns)."""
        index, steps, times, future = self._horizon(fh)
        groups = columns_as_bars(self._seen, times)
        forecasts = self._forecaster().forecast_many(
            [group.bars for group in groups],
            int(steps.max()),
            self.paths,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            timestamps=None if future is None else [future] * len(groups),
            calendar=self.calendar,
            lookback=self.lookback,
            repair=self.repair,
            calibrated=self.calibrated,
            progress=False,
        )
        paths = np.empty((self.paths, len(steps), self._seen.shape[1]))
        for group, forecast in zip(groups, forecasts, strict=True):
            for column, feature in group.features.items():
                paths[:, :, column] = forecast.paths[:, steps - 1, feature]
        return forecasts[0].timestamps[steps - 1] if index is None else index, paths

    def _horizon(self, fh: Any) -> tuple[pd.Index | None, NDArray[np.int64], pd.DatetimeIndex, pd.DatetimeIndex | None]:
        """Index of the horizon, its steps (from 1), times of the rows seen, and of all bars up to the last step.

        The index and the times to come are None where the calendar has to say them.
        """
        seen = self._seen.index
        if isinstance(seen, pd.DatetimeIndex) and fh.freq is None:
            asked = fh.to_pandas()
            if fh.is_relative:
                return None, asked.to_numpy(np.int64), seen, None
            return asked, np.arange(1, len(asked) + 1), seen, asked
        steps = fh.to_relative(self._cutoff).to_numpy().astype(np.int64)
        index = fh.to_absolute_index(self._cutoff)
        if not isinstance(seen, pd.DatetimeIndex | pd.PeriodIndex):
            days = pd.date_range(_EPOCH, periods=len(seen) + int(steps.max()))
            return index, steps, days[: len(seen)], days[len(seen) :]
        every = ForecastingHorizon(np.arange(1, steps.max() + 1), is_relative=True, freq=fh.freq)
        future = every.to_absolute_index(self._cutoff)
        if isinstance(seen, pd.PeriodIndex):
            return index, steps, seen.to_timestamp(), future.to_timestamp()
        return index, steps, seen, future

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small settings, for sktime's own checks."""
        return [{"paths": 4, "lookback": 16}, {"paths": 3, "lookback": 8, "temperature": 0.8, "seed": 1}]
