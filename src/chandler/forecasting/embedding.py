"""Windows in, what the predictor makes of them out: its hidden state at the last bar, the vector that forecasts are read from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from chandler.data import Bars
from chandler.data.datasets import normalise
from chandler.data.reading import load_bars
from chandler.data.store import BarStore, gather_windows
from chandler.devices import device_of
from chandler.errors import ConfigError, DataError
from chandler.forecasting.engine import (
    block_bytes,
    default_budget,
    eval_mode,
    require_finite,
    require_int,
    require_room,
)
from chandler.forecasting.forecast import needs_utc
from chandler.forecasting.preprocessing import many_series
from chandler.forecasting.pretrained import ModelPair
from chandler.progress import Report
from chandler.text import count, shortened

Ints = NDArray[np.int64]
MOST_CPU, MOST_ACCELERATOR = 64, 1024
"""Windows computed together at most: beyond, a CPU is no faster, and an accelerator is busy."""
NAMED = 5
"""Symbols that a message names."""


def store_of(series: Any) -> BarStore:
    """A store of what `Forecaster.embed` takes.

    Raises:
        DataError: something else, nothing at all, or a symbol that comes twice.
    """
    if isinstance(series, BarStore):
        return series
    if isinstance(series, pd.DataFrame):
        return load_bars(series)
    if not isinstance(series, Bars | Iterable) or isinstance(series, str):
        raise DataError(f"embed takes Bars, a frame, a store or a list of these, found {series!r:.60}.")
    return BarStore.from_bars(many_series(series))


def embedding_rows(store: BarStore, lookback: int, every: int) -> tuple[Ints, Ints]:
    """Where embeddings stand: symbol numbers and absolute rows, (W,) each, in the order of the store.

    A row counts where its `lookback` rows lie within one segment of the store; of those of a symbol every `every`-th is
    taken from the first on, so that rows added later move none.
    """
    ends = [np.arange(lo + lookback - 1, hi, dtype=np.int64) for lo, hi in store.segments]
    rows = np.concatenate([np.empty(0, np.int64), *ends])
    numbers = np.searchsorted(store.offsets, rows, side="right") - 1
    chosen = (np.arange(len(rows)) - np.searchsorted(numbers, numbers)) % every == 0
    return numbers[chosen], rows[chosen]


@torch.no_grad()
def embed_rows(
    models: ModelPair,
    store: BarStore,
    rows: Ints,
    lookback: int,
    memory_budget: int | None = None,
    report: Report | None = None,
) -> NDArray[np.float32]:
    """The predictor's hidden state at the last bar of the windows that end at absolute rows of a store.

    Args:
        models: both on one device, where it is computed.
        rows: (W,), each with `lookback` rows of its symbol up to it.
        lookback: rows of a window; more than `max_context` are cut to the last ones.
        memory_budget: bytes for what is computed at a time; None for a quarter of what is free, half on an accelerator.
        report: called with (windows done, windows in all).

    Returns:
        (W, d_model) float32.

    Raises:
        ConfigError: not even one window fits in memory, or the result does not.
        DataError: values that are not finite, in the bars or of damaged weights.
    """
    device, length = device_of(models.predictor), min(lookback, models.max_context)
    width = models.predictor.config.d_model
    what = f"{len(rows):,} embeddings of {width} numbers"
    require_room(3 * 4 * len(rows) * width, what, "Raise every, or embed fewer symbols at a time.")
    made = np.empty((len(rows), width), np.float32)
    size = _batch(models, length, device, memory_budget)
    with eval_mode(models.tokenizer, models.predictor):
        for begin in range(0, len(rows), size):
            starts = rows[begin : begin + size] - length + 1
            values = gather_windows(store.values, starts, length)
            _require_finite(store, starts, values)
            x = torch.as_tensor(normalise(values, length)[0]).to(device)
            stamps = torch.as_tensor(gather_windows(store.stamps, starts, length)).to(device)
            unit = models.tokenizer.unit(x)
            require_finite(bool(unit.isfinite().all()))
            s1, s2 = models.tokenizer.ids(unit)
            made[begin : begin + size] = models.predictor.hidden(s1, s2, stamps)[:, -1].float().cpu().numpy()
            if report is not None:
                report(min(begin + size, len(rows)), len(rows))
    require_finite(bool(np.isfinite(made).all()))
    return made


def embedding_table(store: BarStore, numbers: Ints, rows: Ints, states: NDArray[np.float32]) -> pd.DataFrame:
    """States (W, d) with the MultiIndex (symbol, timestamp) and columns h0, h1, ...; W rows of symbols in blocks.

    Times are naive where no symbol has a zone, in the zone where all have the same, else in UTC.
    """
    zones = {store.zones[number] for number in np.unique(numbers)}
    times = pd.DatetimeIndex(np.asarray(store.timestamps)[rows].view("M8[ns]"))
    if zones != {None}:
        times = times.tz_localize("UTC")
        only = zones.pop() if len(zones) == 1 else None
        times = times if only is None else times.tz_convert(only)
    symbols = pd.Index(np.asarray(store.symbols, dtype=object)[numbers], dtype="str")
    index = pd.MultiIndex.from_arrays([symbols, times], names=["symbol", "timestamp"])
    return pd.DataFrame(states, index, [f"h{place}" for place in range(states.shape[1])])


def embed(
    models: ModelPair,
    series: Iterable[Bars | pd.DataFrame] | Any,
    every: int,
    lookback: int,
    memory_budget: int | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """`Forecaster.embed`, which says what it is, of models that are on their device."""
    every, store = require_int("every", every, 1), store_of(series)
    numbers, rows = embedding_rows(store, lookback, every)
    short = np.setdiff1d(np.arange(len(store)), numbers)
    if len(short):
        told = _too_short(store, short, lookback)
        if not len(rows):
            raise DataError(f"{told} Lower lookback, or give more history.")
        warnings.warn(told, stacklevel=3)
    needs_utc({store.symbols[number]: store.zones[number] for number in np.unique(numbers)})  # refused before the work
    states = embed_rows(models, store, rows, lookback, memory_budget, report)
    return embedding_table(store, numbers, rows, states)


def _too_short(store: BarStore, short: Sequence[int] | Ints, lookback: int) -> str:
    names = shortened([store.symbols[number] for number in short], NAMED)
    of = "" if len(short) == len(store) else f" of {len(store)}"
    have = "has" if len(short) == 1 else "have"
    return f"{count(len(short), 'symbol')}{of} {have} no {lookback} unbroken rows to embed: {names}."


def _require_finite(store: BarStore, starts: Ints, values: NDArray[Any]) -> None:
    broken = ~np.isfinite(values).all(axis=2)
    if broken.any():
        window, place = (int(one) for one in np.argwhere(broken)[0])
        row = int(starts[window]) + place
        number = int(np.searchsorted(store.offsets, row, side="right")) - 1
        raise DataError(
            f"{store.symbols[number]}: values that are not finite, first at {store.index(number, row, row + 1)[0]}. Read "
            "the bars with Bars.from_frame or load_bars, which say what to do."
        )


def _batch(models: ModelPair, length: int, device: torch.device, memory_budget: int | None) -> int:
    """Windows that are computed at a time."""
    budget = default_budget(device) if memory_budget is None else memory_budget
    need = max(block_bytes(one.config, length, length) for one in (models.tokenizer, models.predictor))
    if budget < need:
        raise ConfigError(
            f"a window of {length} rows needs {need / 1e6:,.1f} MB to be embedded, the memory budget is "
            f"{max(budget, 0) / 1e6:,.1f} MB. Lower lookback, or raise the budget (memory_budget=)."
        )
    return max(1, min(budget // need, MOST_CPU if device.type == "cpu" else MOST_ACCELERATOR))
