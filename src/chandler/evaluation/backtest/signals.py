"""Signals: a score per bar and symbol, read from a file or made by a model's forecasts, walking forward in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from chandler.atomic import write_text
from chandler.checkpoint import weights_hash
from chandler.data import CLOSE, tick_of
from chandler.data.calendars import future_timestamps
from chandler.data.reading import read_times
from chandler.data.store import BarStore
from chandler.errors import ConfigError, DataError
from chandler.evaluation.backtest.panel import Array, Ints, Panel
from chandler.evaluation.backtest.settings import BacktestSettings
from chandler.evaluation.walk_forward import Origins, PartStore, find_origins
from chandler.forecasting import Forecaster, ForecastSettings
from chandler.forecasting.engine import Sampling
from chandler.progress import Progress

_NAMES = {"timestamp": ("timestamp", "date", "datetime", "time", "origin"), "symbol": ("symbol", "instrument"),
          "score": ("score", "signal")}  # fmt: skip
LEFT_OUT = 0.05
"""Share of the signals in the period that may fit no bar or symbol, before it is an error."""
MADE_OF = "made_of.json"
"""Beside the parts: what they are made of."""


@dataclass(frozen=True, eq=False)
class SignalBars(Origins):
    """Bars after whose close a signal is made. What comes after is not asked for, so a symbol that ceases to trade
    is forecast until its last bar."""

    calendar: Ints
    """(T,) ns: the bars that can be traded."""

    def targets(self) -> Ints:
        """(W,) ns: the bar of the calendar that each signal is traded on, the next one."""
        times = np.asarray(self.store.timestamps)[self.rows]
        found: Ints = self.calendar[np.searchsorted(self.calendar, times, side="right")]
        return found


def signal_bars(store: BarStore, panel: Panel, lookback: int, every: int, start: str | None) -> SignalBars:
    """Every `every`-th bar of the calendar from the last before `start` to the last but one of the panel, of each
    symbol that has it and `lookback` unbroken bars up to it.

    Raises:
        DataError: none.
    """
    end, calendar, times = panel.times[-1].isoformat(), panel.times.as_unit("ns").asi8, np.asarray(store.timestamps)
    ranges = np.empty((len(store), 2), np.int64)
    for number, zone in enumerate(store.zones):
        lo, hi = store.span(number)
        first = tick_of(start, zone)
        # Not the last bar of each symbol: one that ceased to trade, or paused, has it long before.
        begin = calendar[0] if first is None else calendar[max(0, int(np.searchsorted(calendar, first)) - 1)]
        ranges[number] = lo + np.searchsorted(times[lo:hi], (begin, calendar[-1]))
    # The row after the origin is what has to lie in the range.
    found = find_origins(store, lookback, 0, stride=every, start=start, end=end, ranges=ranges + np.array([1, 0]))
    return SignalBars(**vars(found), calendar=calendar)


def score(paths: Array, last: float) -> float:
    """mean(p) / last - 1: the mean close over the paths (P, H) and the horizon against the last close.

    A return, so comparable across symbols whatever they cost. Source: Kronos, arXiv 2508.02739, investment task.
    """
    return float(paths.mean() / last - 1)


def forecast_signals(
    forecaster: Forecaster, bars: SignalBars, settings: BacktestSettings, horizon: int, folder: Path, shown: Progress
) -> pd.DataFrame:
    """The model's score on every signal bar. Parts that `folder` has already are not made again.

    Rounds have seeds of their own (settings.seed + round); the symbols of a round share one, so that differences
    between them are no sampling noise.

    Returns:
        Columns timestamp (wall clock where the data have no zone, else UTC), symbol, score, last (the close at the
        signal).

    Raises:
        ConfigError: the folder holds parts of other settings.
    """
    _claim(folder, forecaster, bars, settings, horizon)
    sampling = Sampling(settings.temperature, settings.top_k, settings.top_p)
    how = ForecastSettings(
        settings.paths, sampling, bars.lookback, settings.overflow, settings.precision, anchor=settings.anchor
    )
    calendar = settings.data.calendar

    def scores(windows: Ints) -> pa.Table:
        histories = [bars.bars(window)[0] for window in windows]
        times = None if calendar is None else [future_timestamps(h.timestamps, horizon, calendar) for h in histories]
        drawn = [settings.seed + int(bars.rounds[window]) for window in windows]
        forecasts = forecaster.forecast_with(how, histories, horizon, seed=drawn, timestamps=times, progress=False)
        last = [float(history.values[-1, CLOSE]) for history in histories]
        return pa.table({
            "timestamp": np.asarray(bars.store.timestamps)[bars.rows[windows]],
            "symbol": [bars.symbol(window) for window in windows],
            "score": [score(one.paths[:, :, CLOSE], end) for one, end in zip(forecasts, last, strict=True)],
            "last": last,
        })  # fmt: skip

    parts = PartStore(folder, list(_chunks(bars.rounds, settings.chunk)))
    parts.fill(scores, shown, "forecasts", "forecasts")
    table = pa.concat_tables(parts.tables()).to_pandas()
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="ns")
    return table


def read_signals(path: str | Path) -> pd.DataFrame:
    """A CSV or Parquet file of timestamp (or date), symbol (or instrument) and score, a row per signal.

    As in files of bars, symbols are text (000001, NA) and times are read as a whole column.

    Raises:
        DataError: unreadable, a column missing, two scores of one symbol at one time, or no score.
    """
    path = Path(path)
    try:
        frame = (
            pd.read_parquet(path)
            if path.suffix.lower() == ".parquet"
            else pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of signals.") from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as signals ({str(error)[:120]}). Give a CSV or Parquet file."
        ) from None
    frame = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    found = {}
    for name, spellings in _NAMES.items():
        column = next((one for one in frame.columns if str(one).lower() in spellings), None)
        if column is None:
            raise DataError(f"{path}: no column {' or '.join(spellings)}; it has {', '.join(map(str, frame.columns))}.")
        found[name] = frame[column]
    table = pd.DataFrame(found)
    try:
        table["score"] = pd.to_numeric(table["score"].replace("", np.nan)).astype(float)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {str(error)[:160]}.") from None
    table["timestamp"] = read_times(table["timestamp"], f"{path}: ")
    table["symbol"] = table["symbol"].astype(str).str.strip()
    table = table[np.isfinite(table["score"])]
    if table.empty:
        raise DataError(f"{path}: there is no score in it.")
    twice = table.duplicated(["timestamp", "symbol"])
    if twice.any():
        one = table[twice].iloc[0]
        raise DataError(f"{path}: {int(twice.sum()):,} scores come twice, first {one['symbol']} at {one['timestamp']}.")
    return table.reset_index(drop=True)


def score_matrix(table: pd.DataFrame, panel: Panel, *, allow_left_out: bool = False) -> tuple[Array, list[str]]:
    """Signals as (T, S) scores on the bars of a panel, NaN where there is none, and notes of what did not fit.

    Times must be those of bars. Dates without a time stand for the daily bar of that date; times without a zone are
    in the zone of the bars. Signals before the first bar or after the last are left out: they were not asked for.

    Raises:
        DataError: no signal fits a bar, or none a symbol; more than 5% of those in the period do not, and that is not
            allowed.
    """
    rows, columns = _rows(table["timestamp"], panel), pd.Index(panel.symbols).get_indexer(pd.Index(table["symbol"]))
    inside = _inside(table["timestamp"], panel)
    notes = []
    for places, what, there in (
        (columns, "symbols that the data do not have", ", ".join(panel.symbols[:5])),
        (rows, "times at which the data have no bar", f"{panel.times[0]} to {panel.times[-1]}"),
    ):
        lost, of = int((places < 0).sum()), max(1, int(inside.sum()))
        if lost == len(table):
            raise DataError(f"all {lost:,} signals are of {what}; there are, for example, {there}.")
        bad = (places < 0) & inside
        if bad.sum() > LEFT_OUT * of and not allow_left_out:
            first = table[bad].iloc[0]
            raise DataError(
                f"{int(bad.sum()):,} of {of:,} signals in the period are of {what}, first {first['symbol']} at "
                f"{first['timestamp']}; there are, for example, {there}. Correct them, or go on with "
                "allow_left_out=True."
            )
        if lost:
            notes.append(f"{lost:,} of {len(table):,} signals are of {what}: left out.")
    good = (rows >= 0) & (columns >= 0)
    scores = np.full((len(panel), len(panel.symbols)), np.nan)
    scores[rows[good], columns[good]] = table["score"].to_numpy()[good]
    return scores, notes


def _inside(given: pd.Series[Any], panel: Panel) -> NDArray[np.bool_]:
    """(N,) which times lie between the first and the last day of a panel."""
    index = pd.DatetimeIndex(given)
    days = index.tz_localize(None) if index.tz is not None else index
    first, last = (panel.times[place].tz_localize(None) for place in (0, -1))
    return np.asarray((days >= first - pd.Timedelta(days=1)) & (days <= last + pd.Timedelta(days=1)))


def _rows(given: pd.Series[Any], panel: Panel) -> Ints:
    """(N,) the bars of the panel that times name; -1 where there is none."""
    index, times = pd.DatetimeIndex(given), panel.times
    if index.tz is not None and times.tz is None:
        raise DataError("the signals' times have a zone and the bars' have none. Write both the same way.")
    dates = index.tz is None and bool((index == index.normalize()).all())
    if index.tz is None and times.tz is not None:
        index = index.tz_localize(times.tz, ambiguous=True, nonexistent="shift_forward")
    rows = times.get_indexer(index.as_unit("ns") if index.tz is None else index.as_unit("ns").tz_convert(times.tz))
    days = times.normalize()
    if dates and (rows < 0).any() and days.is_unique:
        rows = days.get_indexer(index.normalize())
    return np.asarray(rows, np.int64)


def _chunks(rounds: Ints, size: int) -> Iterator[Ints]:
    """Windows of whole rounds, at least `size` at a time while there are."""
    ends = np.flatnonzero(np.append(rounds[1:] != rounds[:-1], True)) + 1
    begin = 0
    for end in ends:
        if end - begin >= size or end == len(rounds):
            yield np.arange(begin, end)
            begin = int(end)


def _claim(folder: Path, forecaster: Forecaster, bars: SignalBars, settings: BacktestSettings, horizon: int) -> None:
    """Say in the folder what its parts are made of; ConfigError where it holds something else."""
    drawn = ("paths", "temperature", "top_p", "top_k", "anchor", "overflow", "precision", "seed", "chunk", "every")
    claim = {name: getattr(settings, name) for name in drawn} | {
        "lookback": bars.lookback, "horizon": horizon, "calendar": settings.data.calendar,
        "model": weights_hash(forecaster.tokenizer, forecaster.predictor), "bars": bars.digest(),
    }  # fmt: skip
    path = folder / MADE_OF
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(claim, indent=1))
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    other = sorted(name for name in claim if claim[name] != before.get(name))
    if other:
        raise ConfigError(
            f"{folder}: holds signals made with other settings ({', '.join(other)}). Choose another out=, or pass "
            "overwrite=True to make them anew."
        )
