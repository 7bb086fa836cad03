"""Kronos as a model of Qlib's workflows: `KronosModel` scores instruments, for its records, strategies and backtests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.contrib import MissingLibrary
from chandler.data import CLOSE, PRICES, Bars
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.backtest import score
from chandler.evaluation.walk_forward import Origins
from chandler.forecasting import Forecaster, ForecastSettings, Sampling, SignalHead, require_int
from chandler.progress import Report, patient_bar
from chandler.text import listed

try:
    from qlib.data import D
    from qlib.model.base import Model
except ImportError as error:
    raise MissingLibrary("qlib", error) from error

__all__ = ["KronosModel"]

_FIELDS = ("$open", "$high", "$low", "$close", "$volume", "$amount", "$vwap")
_ROUND = 256
"""Windows that are forecast at a time."""


class KronosModel(Model):
    """Scores of a segment's instruments, after the close of each of its bars: what a forecast says that comes next.

    `fit` trains nothing (`chandler finetune` does; its run folder is a model): it loads the models, so that a wrong name is
    told at once. The bars come from Qlib's data, not from the handler's features: whatever those are, they say only which
    instruments are scored on which dates. Without prices on a date, or with fewer than `lookback` bars up to it, an instrument
    has no score.

    Args:
        model: as `Forecaster.from_pretrained`.
        signal: folder of a signal head (`chandler signal`), whose scores are then given; None scores by the mean forecast
            close over `horizon` bars and `paths` paths against the last close, a return.
        horizon, paths, temperature, top_p, top_k, calendar: as `Forecaster.forecast`; of no matter to a signal head.
        lookback: rows of history; None for the forecaster's own, or the head's.
        seed: dates are drawn independently, from seed on; the instruments of a date share their random numbers.
        freq: of Qlib's data: "day", "1min", ...
        device: as `Forecaster.from_pretrained`.

    Raises:
        CheckpointError, ConfigError: in `fit`, as `Forecaster.from_pretrained` and `SignalHead.load`.
    """

    _forecaster: Forecaster | None = None  # names with _ are not pickled by Qlib

    def __init__(
        self,
        model: str = "chandler-nano",
        signal: str | None = None,
        horizon: int = 10,
        paths: int = 10,
        lookback: int | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int = 0,
        calendar: str | None = None,
        freq: str = "day",
        device: str = "auto",
    ) -> None:
        super().__init__()
        self.model = model
        self.signal = signal
        self.horizon = require_int("horizon", horizon, 1)
        self.settings = ForecastSettings(paths, Sampling(temperature, top_k, top_p), lookback, calendar=calendar)
        self.seed = seed
        self.freq = freq
        self.device = device

    def fit(self, dataset: Any, reweighter: Any = None) -> None:
        """Load the models, and the head where one is named; `dataset` is not looked at."""
        self._ready()

    def predict(self, dataset: Any, segment: str | slice = "test") -> pd.Series:
        """A score for each date and instrument of a segment that can have one: a float series "score" over (datetime,
        instrument), in the order of the dataset.

        Raises:
            DataError: there is none; or bars that cannot be read.
            CheckpointError, ConfigError: as `fit`.
        """
        forecaster, head = self._ready()
        asked = dataset.prepare(segment, col_set="feature").index
        lookback = head.lookback if head else self.settings.lookback or forecaster.lookback or forecaster.max_context
        lookback = min(lookback, forecaster.max_context)
        windows = _windows(self._read(asked, lookback), asked, lookback)
        if not len(windows):
            raise DataError(
                f"segment {segment!r}: no instrument has {lookback} bars with prices up to one of its dates. Set a shorter "
                "lookback, or a later segment."
            )
        with patient_bar(f"Scoring {len(windows):,} bars", None) as report:
            if head:
                scores = head.read(forecaster.embed_rows(windows.store, windows.rows, lookback))
            else:
                scores = self._returns(forecaster, windows, report)
        times = pd.DatetimeIndex(np.asarray(windows.store.timestamps)[windows.rows].view("M8[ns]"))
        names = pd.Index(windows.store.symbols).take(windows.numbers)
        made = pd.Series(scores, pd.MultiIndex.from_arrays([times, names]), name="score")
        return made.reindex(asked).dropna()

    def _ready(self) -> tuple[Forecaster, SignalHead | None]:
        if self._forecaster is None:
            self._forecaster = Forecaster.from_pretrained(self.model, device=self.device)
        head = SignalHead.load(self.signal) if self.signal else None
        if head:
            head.require(self._forecaster)
        return self._forecaster, head

    def _read(self, asked: pd.MultiIndex, lookback: int) -> BarStore:
        """The bars of all instruments of an index (datetime, instrument), from well before its first date on."""
        dates = asked.get_level_values(0)
        before = D.calendar(end_time=dates.min(), freq=self.freq)[-2 * lookback :]  # half of the days may lack prices
        names = sorted(set(asked.get_level_values(1)))
        frame = D.features(names, _FIELDS, before[0], dates.max(), self.freq)
        bars = [_bars(str(name), rows.droplevel(0)) for name, rows in frame.groupby(level=0, sort=False)]
        bars = [one for one in bars if len(one)]
        if not bars:
            raise DataError(
                f"Qlib has no prices of {listed(names, 6)} up to {dates.max()}. Check provider_uri and freq."
            )
        return BarStore.from_bars(bars)

    def _returns(self, forecaster: Forecaster, windows: Origins, report: Report | None) -> NDArray[np.float64]:
        """(W,) mean forecast returns."""
        scores = np.empty(len(windows))
        for begin in range(0, len(windows), _ROUND):
            part = range(begin, min(begin + _ROUND, len(windows)))
            histories = [windows.bars(one)[0] for one in part]
            seeds = [self.seed + int(windows.rounds[one]) for one in part]
            forecasts = forecaster.forecast_with(self.settings, histories, self.horizon, seed=seeds, progress=False)
            for one, forecast in zip(part, forecasts, strict=True):
                scores[one] = score(forecast.paths[:, :, CLOSE], float(forecast.history.values[-1, CLOSE]))
            if report:
                report(part.stop, len(windows))
        return scores


def _bars(name: str, rows: pd.DataFrame) -> Bars:
    """The rows with prices, as bars; amount is Qlib's, else volume x vwap, else volume x the mean price."""
    values = rows.to_numpy(float)
    good = (values[:, : len(PRICES)] > 0).all(axis=1) & np.isfinite(values[:, : len(PRICES)]).all(axis=1)
    values = values[good]
    prices, volume = values[:, : len(PRICES)], np.nan_to_num(values[:, 4]).clip(0)
    amount, vwap = values[:, 5], values[:, 6]
    vwap = np.where(np.isfinite(vwap), vwap, prices.mean(axis=1))
    amount = np.where(np.isfinite(amount), amount, volume * vwap).clip(0)
    return Bars(
        name, pd.DatetimeIndex(rows.index[good]).as_unit("ns"), np.column_stack([prices, volume, amount]), "qlib"
    )


def _windows(store: BarStore, asked: pd.MultiIndex, lookback: int) -> Origins:
    """The bars that an index (datetime, instrument) asks for and that have `lookback` rows up to them, in the order of time."""
    numbers = np.repeat(np.arange(len(store.symbols)), np.diff(store.offsets))
    times = np.asarray(store.timestamps)
    known = pd.MultiIndex.from_arrays([times.view("M8[ns]"), pd.Index(store.symbols).take(numbers)]).isin(asked)
    rows = np.flatnonzero(known & (np.arange(store.rows) - store.offsets[numbers] >= lookback - 1))
    rows = rows[np.argsort(times[rows], kind="stable")]
    rounds = np.unique(times[rows], return_inverse=True)[1]
    return Origins(store, lookback, 0, numbers[rows], rows, rounds, 1)
