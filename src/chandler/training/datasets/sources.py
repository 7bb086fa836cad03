"""Turns the settings of the data into windows to train and validate on, of the main store and of the replay store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chandler.data import Finding, load_clean
from chandler.data.datasets import CleaningReport, Windows, require_windows, split_ranges, untrainable
from chandler.data.inspection import findings
from chandler.data.reading import opened
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.forecasting import spacings
from chandler.text import shortened
from chandler.training.datasets.corpus import Corpus, place_of, read_corpus
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.settings import ReplaySettings, Settings


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
    findings: Sequence[Finding] = ()
    """What reading did to the bars, and what shows in them."""

    def describe(self) -> dict[str, Any]:
        """For summary.json: symbols, rows, and the span and windows of each split, of each store."""
        store, both = self.train.main.store, {"train": self.train.main, "val": self.validation}
        main = describe(store, both) | {"fingerprint": fingerprint(store)}
        if self.origins is not None:
            # Each source ends at a time of its own; an evaluation goes by the list.
            del main["names"]
            main["sources"] = [{"source": name, **describe(store, both, only)} for name, only in self.origins.items()]
        if self.train.replay is not None and self.replay_validation is not None:
            replay = describe(self.train.replay.store, {"train": self.train.replay, "val": self.replay_validation})
            main["replay"] = {"share": self.train.share, **replay}
        if self.cleaned is not None:
            main["cleaning"] = self.cleaned.to_dict()
        return {**main, "windows": self.digests(), "reading": [one.to_dict() for one in self.findings]}

    def digests(self) -> dict[str, str]:
        """Part -> a digest of its windows: what tells whether a run that goes on has the bars that it began with."""
        parts = {"train": self.train.main, "val": self.validation, "replay_val": self.replay_validation}
        parts["replay_train"] = self.train.replay
        return {name: windows_digest(windows) for name, windows in parts.items() if windows is not None}

    def warnings(self) -> list[str]:
        """What a person should know before it is trained on."""
        replay, validation = self.train.replay, self.validation
        if replay is None:
            return []
        seen = []
        for symbol in (symbol for symbol in replay.store.symbols if symbol in validation.store):
            lo, hi = replay.ranges[replay.store.number(symbol)]
            first, end = validation.ranges[validation.store.number(symbol)]
            if hi > lo and end > first and replay.store.timestamps[hi - 1] >= validation.store.timestamps[first]:
                seen.append(symbol)
        told = (
            f"the replayed bars of {shortened(seen, 5)} reach into the period that validates: the scores will be too good. End "
            "them earlier with data.replay.split."
        )
        return [told] if seen else []


def load_sources(settings: Settings) -> RunData:
    """Read all bars and cut them into windows.

    Raises:
        DataError: bars that cannot be read; a split without a window.
        ConfigError: a weighting that cannot have an effect.
    """
    d = settings.data
    if d.sources:
        bars = read_corpus(d)
    else:
        store, cleaned = load_clean(d)
        bars = Corpus(store, split_ranges(store, d.split), cleaned)
    strides = {"train": d.stride, "val": d.validation_stride}
    windows = {
        part: Windows(bars.store, bars.ranges[part], d.lookback, d.horizon, stride) for part, stride in strides.items()
    }
    for problem in untrainable(windows, d.split):
        raise DataError(problem)
    replay, replay_validation = (None, None) if d.replay is None else _replay_windows(d.replay, settings)
    share = 0.0 if d.replay is None else d.replay.share
    train = TrainingSet(windows["train"], replay, share, d.temperature, d.windows_per_epoch, bars.weights)
    found = findings(bars.store, cleaned=d.cleaning.enabled)
    return RunData(train, windows["val"], replay_validation, bars.cleaned, bars.origins, found)


def data_inputs(settings: Settings) -> dict[str, list[Path]]:
    """The files and folders that `load_sources` opens, by the setting that names them."""
    d = settings.data
    found = {"data.path": opened(d.path)}
    if d.replay is not None:
        found["data.replay.path"] = opened(d.replay.path)
    return found | {f"data.sources: {one.path}": opened(place_of(one, d)) for one in d.sources}


def _replay_windows(replay: ReplaySettings, settings: Settings) -> tuple[Windows, Windows]:
    try:
        store = load_clean(replay)[0]
    except DataError as error:
        raise DataError(f"data.replay: {error}") from error
    ranges = split_ranges(store, replay.split)
    lookback, horizon = settings.data.lookback, settings.data.horizon
    train = Windows(store, ranges["train"], lookback, horizon, replay.stride)
    validation = Windows(store, ranges["val"], lookback, horizon)
    require_windows(train, "replay training", replay.split, "data.replay.split")
    require_windows(validation, "replay validation", replay.split, "data.replay.split")
    # At least one window of each symbol stays.
    apart = -(-len(validation) // replay.validation_windows)
    return train, Windows(store, ranges["val"], lookback, horizon, apart)


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
    return {
        "symbols": len(names),
        "names": names,
        "rows": int(np.diff(store.offsets)[only].sum()),
        "intervals": spacings(store, only.tolist()),
        "formats": sorted({_format(store.sources.get(name, "")) for name in names} - {""}),
        "splits": parts,
    }


def fingerprint(store: BarStore, rows: int = 4096) -> str:
    """A digest of the symbols, how many rows each has, and so many bars, evenly spaced: enough to tell two sets of bars
    apart, and of a store on disk next to nothing is read."""
    return _digest(store.symbols, store.offsets, store, _spread(store.rows, rows))


def windows_digest(windows: Windows, rows: int = 4096) -> str:
    """The same of windows: how they are cut, of which symbols, from how many rows, and so many of these rows. Bars before
    and behind them have no say."""
    pieces = windows.pieces[windows.pieces[:, 1] > windows.pieces[:, 0]]
    lengths = pieces[:, 1] - pieces[:, 0]
    ends, store = np.cumsum(lengths), windows.store
    chosen = _spread(int(ends[-1]), rows)
    piece = np.searchsorted(ends, chosen, side="right")
    names = [store.symbols[number] for number in np.searchsorted(store.offsets, pieces[:, 0], side="right") - 1]
    shape = np.array([windows.lookback, windows.horizon, windows.stride], np.int64)
    return _digest(names, np.concatenate([shape, lengths]), store, pieces[piece, 1] - ends[piece] + chosen)


def _spread(total: int, rows: int) -> np.ndarray:
    """So many of `total` rows, evenly spaced."""
    return np.unique(np.linspace(0, total - 1, min(rows, total)).astype(np.int64))


def _digest(names: Sequence[str], numbers: np.ndarray, store: BarStore, rows: np.ndarray) -> str:
    digest = hashlib.sha256("\0".join(names).encode())
    for part in (numbers, store.timestamps[rows], store.values[rows]):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def _format(source: str) -> str:
    """csv, csv.gz, parquet: what kind of file it was, and nothing else of its name."""
    parts = Path(source).name.lower().split(".")[1:]
    packed = len(parts) > 1 and parts[-1] in ("gz", "bz2", "xz", "zst", "zip")
    return ".".join(part for part in parts[-2 if packed else -1 :] if part.isalnum() and not part.isdigit())


def _moment(time: int) -> str:
    return str(np.int64(time).astype("datetime64[ns]").astype("datetime64[s]"))
