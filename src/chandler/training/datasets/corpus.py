"""Many sources as one store: each read, resampled and cleaned in its own way, each cut in time by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from chandler.data import load_source
from chandler.data.datasets import (
    CleaningReport,
    SplitSettings,
    clean_store,
    cut_short,
    interval_of,
    resample_store,
    split_ranges,
)
from chandler.data.store import BarStore
from chandler.errors import ConfigError, DataError
from chandler.training.settings import CorpusSource, DataSettings


@dataclass(frozen=True, eq=False)
class Corpus:
    """A store of one source; or of many, with symbols called SOURCE:SYMBOL@INTERVAL, and what belongs to each."""

    store: BarStore
    ranges: dict[str, np.ndarray]
    """Part -> (S, 2) absolute rows, as `split_ranges` gives them."""
    cleaned: CleaningReport | None
    weights: np.ndarray | None = None
    """(S,) float64, of the sources."""
    origins: dict[str, np.ndarray] | None = None
    """Source -> the numbers of its symbols."""


def read_corpus(data: DataSettings) -> Corpus:
    """All sources of the settings. Raises DataError and ConfigError that name the source."""
    if data.split.walk is not None:
        raise ConfigError(
            "data.split.walk is for data.path: the sources of data.sources are split by fractions or dates."
        )
    if data.split.per == "symbol" and data.split.train_end is None:
        raise ConfigError(
            "data.split.per: symbol is for data.path: each source of data.sources is cut at one midnight for all of its symbols. "
            "Leave it out, or give each symbol as a source of its own (symbols)."
        )
    stores, parts, weights, reports = [], [], [], []
    origins: dict[str, np.ndarray] = {}
    for number, source in enumerate(data.sources):
        try:
            for store, report, ranges in _series(source, data):
                stores.append(store)
                reports.append(report)
                parts.append(ranges)
                weights += [source.weight] * len(store)
            known = sum(map(len, origins.values()))
            origins[f"{number}: {source.path}"] = np.arange(known, len(weights))
        except DataError as error:
            raise DataError(f"data.sources[{number}]: {error}") from error
    store = BarStore.from_bars([bars for one in stores for bars in one])
    begins = np.cumsum([0, *(one.rows for one in stores)])
    ranges = {
        name: np.concatenate([part[name] + begin for part, begin in zip(parts, begins, strict=False)])
        for name in ("train", "val")
    }
    report = CleaningReport(
        pd.concat([one.events for one in reports], ignore_index=True),
        sum(one.rows for one in reports),
        sum(one.kept for one in reports),
    )
    return Corpus(store, ranges, report, np.array(weights), origins)


def place_of(source: CorpusSource, data: DataSettings) -> str:
    """Where a source lies: relative paths are taken from data.folder."""
    return str(Path(data.folder) / Path(source.path).expanduser())


def _series(source: CorpusSource, data: DataSettings) -> list[tuple[BarStore, CleaningReport, dict[str, np.ndarray]]]:
    """The store of each interval of a source, cleaned, and its parts."""
    raw = load_source(source.model_copy(update={"path": place_of(source, data)}))
    unknown = [symbol for symbol in source.leave_out if symbol not in raw]
    if unknown:
        raise ConfigError(f"{source.path}: leave_out names {', '.join(unknown)}, which it does not have.")
    raw = raw.select([symbol for symbol in raw.symbols if symbol not in source.leave_out])
    split = data.split if data.split.train_end is not None else _at_midnight(raw, data.split)
    found = []
    for interval in (None, *source.intervals):
        bars = raw if interval is None else resample_store(raw, interval, source.calendar)
        name = Path(source.path).name.partition(".")[0]
        label = f"@{interval}" if interval is not None else ""
        named = BarStore.from_bars([replace(one, symbol=f"{name}:{one.symbol}{label}") for one in bars])
        cleaned, report = clean_store(named, source.cleaning, max_gap=source.max_gap, calendar=source.calendar)
        # One row between the parts, and no bar that begins before a cut and ends after it.
        ranges = split_ranges(cleaned, split.model_copy(update={"purge": max(1, split.purge)}))
        if interval is not None:
            for name, day in (("train", split.train_end), ("val", split.val_end)):
                if day is not None:
                    ranges[name] = cut_short(cleaned, ranges[name], day, interval_of(interval))
        found.append((cleaned, report, ranges))
    return found


def _at_midnight(store: BarStore, split: SplitSettings) -> SplitSettings:
    """The split with fractions of the source's time line as dates: bars of every interval are then cut alike."""
    moments = np.unique(np.asarray(store.timestamps))

    def day(share: float) -> date:
        """The last whole day of the first `share` of the moments."""
        mark = moments[min(len(moments) - 1, int(len(moments) * share))]
        return pd.Timestamp(int(mark)).date() - timedelta(days=1)

    end = day(split.train)
    rest = split.train + split.val < 1 - 1e-9
    return split.model_copy(update={"train_end": end, "val_end": day(split.train + split.val) if rest else None})
