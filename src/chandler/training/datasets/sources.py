"""Turns the settings of the data into windows to train and validate on, of the main store and of the replay store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chandler.data.datasets.cleaning import CleaningReport
from chandler.data.datasets.splits import split_ranges
from chandler.data.datasets.windows import Windows, require_windows, untrainable
from chandler.data.reading.load import opened
from chandler.data.sources import load_clean
from chandler.data.store.store import BarStore
from chandler.errors import DataError
from chandler.training.datasets.corpus import place_of, read_corpus
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.settings.data import ReplaySettings
from chandler.training.settings.run import Settings


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run trains and validates on."""

    train: TrainingSet
    validation: Windows
    replay_validation: Windows | None
    cleaned: CleaningReport | None = None
    """What cleaning removed from the main store; None where no rule is on."""
    origins: Mapping[str, np.ndarray] | None = None
    """Of a corpus: source -> the numbers of its symbols."""

    def describe(self) -> dict[str, Any]:
        """For summary.json: symbols, rows, and the span and windows of each split, of each store."""
        main = describe(self.train.main.store, {"train": self.train.main, "val": self.validation})
        if self.origins is not None:
            # Each source ends at a time of its own; an evaluation goes by the list.
            del main["names"]
            both = {"train": self.train.main, "val": self.validation}
            parts = {name: describe(self.train.main.store, both, only) for name, only in self.origins.items()}
            main["sources"] = [{"source": name, **part} for name, part in parts.items()]
        if self.train.replay is None or self.replay_validation is None:
            return main
        replay = describe(self.train.replay.store, {"train": self.train.replay, "val": self.replay_validation})
        return {**main, "replay": {"share": self.train.share, **replay}}

    def warnings(self) -> list[str]:
        """What a person should know before it is trained on."""
        if self.train.replay is None:
            return []
        replay, validation = self.train.replay, self.validation
        seen = [s for s in replay.store.symbols if s in validation.store and _replays_validation(replay, validation, s)]
        if not seen:
            return []
        named = f"{', '.join(seen[:5])}{' ...' if len(seen) > 5 else ''}"
        return [
            f"the replayed bars of {named} reach into the period that validates: the scores will be too good. End "
            "them earlier with data.replay.split."
        ]


def _replays_validation(replay: Windows, validation: Windows, symbol: str) -> bool:
    """Whether training replays bars of a symbol at or after the first that validates."""
    lo, hi = replay.ranges[replay.store.number(symbol)]
    first, end = validation.ranges[validation.store.number(symbol)]
    return bool(hi > lo and end > first and replay.store.timestamps[hi - 1] >= validation.store.timestamps[first])


def load_sources(settings: Settings) -> RunData:
    """Read all bars and cut them into windows.

    Raises:
        DataError: bars that cannot be read; a split without a window.
        ConfigError: a weighting that cannot have an effect.
    """
    d = settings.data
    weights: np.ndarray | None = None
    origins: Mapping[str, np.ndarray] | None = None
    cleaned: CleaningReport | None
    if d.sources:
        corpus = read_corpus(d)
        store, cleaned, ranges, weights = corpus.store, corpus.cleaned, corpus.ranges, corpus.weights
        origins = corpus.origins
    else:
        store, cleaned = load_clean(d)
        ranges = split_ranges(store, d.split)
    train, validation = _cut(store, ranges, settings, "train"), _cut(store, ranges, settings, "val")
    for problem in untrainable({"train": train, "val": validation}):
        raise DataError(problem)
    if d.replay is None:
        mixture = TrainingSet(train, temperature=d.temperature, limit=d.windows_per_epoch, weights=weights)
        return RunData(mixture, validation, None, cleaned, origins)
    replay, replay_validation = _replay_windows(d.replay, settings)
    mixture = TrainingSet(train, replay, d.replay.share, d.temperature, d.windows_per_epoch, weights)
    return RunData(mixture, validation, replay_validation, cleaned, origins)


def data_inputs(settings: Settings) -> dict[str, list[Path]]:
    """The files and folders that `load_sources` opens, by the setting that names them."""
    d = settings.data
    found = {"data.path": opened(d.path)}
    if d.replay is not None:
        found["data.replay.path"] = opened(d.replay.path)
    return found | {f"data.sources: {one.path}": opened(place_of(one, d)) for one in d.sources}


def _replay_windows(replay: ReplaySettings, settings: Settings) -> tuple[Windows, Windows]:
    store = load_clean(replay)[0]
    ranges = split_ranges(store, replay.split)
    lookback, horizon = settings.data.lookback, settings.data.horizon
    train = Windows(store, ranges["train"], lookback, horizon, replay.stride)
    validation = Windows(store, ranges["val"], lookback, horizon)
    require_windows(train, "replay training")
    require_windows(validation, "replay validation")
    # At least one window of each symbol stays.
    apart = -(-len(validation) // replay.validation_windows)
    return train, Windows(store, ranges["val"], lookback, horizon, apart)


def _cut(store: BarStore, ranges: Mapping[str, np.ndarray], settings: Settings, split: str) -> Windows:
    d = settings.data
    stride = d.stride if split == "train" else d.validation_stride
    return Windows(store, ranges[split], d.lookback, d.horizon, stride)


def describe(store: BarStore, windows: Mapping[str, Windows], only: np.ndarray | None = None) -> dict[str, Any]:
    """A store in numbers: symbols and their names, rows, and the span and windows of each split; of the symbols
    numbered `only` (n,), or of all.

    An evaluation reads from it which bars the model has seen: it needs the names and the last time of each split.
    """
    only = np.arange(len(store)) if only is None else only
    parts = {}
    for name, found in windows.items():
        ranges = found.ranges[only]
        used = ranges[ranges[:, 1] > ranges[:, 0]]
        if not len(used):
            continue
        parts[name] = {
            "windows": int(found.counts[only].sum()),
            "rows": int((used[:, 1] - used[:, 0]).sum()),
            "first": _moment(min(store.timestamps[lo] for lo in used[:, 0])),
            "last": _moment(max(store.timestamps[hi - 1] for hi in used[:, 1])),
        }
    names = [store.symbols[number] for number in only]
    return {"symbols": len(names), "names": names, "rows": int(np.diff(store.offsets)[only].sum()), "splits": parts}


def _moment(time: int) -> str:
    return str(np.int64(time).astype("datetime64[ns]").astype("datetime64[s]"))
