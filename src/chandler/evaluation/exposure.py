"""Which bars a model may know: read from the run folder it comes from, or from what is known of a release."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from chandler.checkpoint import bundled
from chandler.data.splits import CUTOFF
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.origins import Origins

Mark = Literal["", "trained", "validated", "released", "period", "unknown"]
"""What is to be said of an origin, the worst first: its bars trained the model; chose its checkpoint; lie before a
release's cutoff; lie in the period of training, which other symbols lived through; nobody knows. "" is clean."""
REFUSED = ("trained", "validated", "released")
SAYS: Mapping[str, str] = {
    "trained": "the model was trained on these bars, or on later ones of the same symbol",
    "validated": "these bars, or later ones of the same symbol, chose the model's checkpoint",
    "released": f"the released weights were trained on data up to {CUTOFF:%B %Y} and may have seen these bars",
    "period": "other symbols of these days were trained on: a market's moves are shared",
    "unknown": "what the model was trained on is not on record",
}
_RELEASER = "NeoQuasar"


@dataclass(frozen=True)
class Seen:
    """Bars that a model knows: of some symbols, up to a moment."""

    kind: Literal["trained", "validated", "released"]
    until: int
    """ns, as a store keeps them: the last second seen, whole."""
    symbols: frozenset[str] | None
    """None: any symbol may be among them."""


@dataclass(frozen=True)
class Exposure:
    """Everything on record about what a model knows."""

    seen: tuple[Seen, ...]
    unknown: bool
    """Whether some of its past is not on record."""

    def marks(self, origins: Origins) -> NDArray[np.str_]:
        """(W,) a `Mark` for each window, the worst that applies to any bar it forecasts.

        What counts is time: a bar before the last that was trained on is marked although it was not trained on
        itself, since the model knows what came after it.
        """
        targets = origins.targets()
        names = np.asarray(origins.store.symbols)[origins.numbers]
        marks = np.full(len(origins), "unknown" if self.unknown else "", dtype="<U9")
        for kind in ("period", "released", "validated", "trained"):
            for one in self.seen:
                early = targets <= one.until
                known = np.isin(names, list(one.symbols)) if one.symbols is not None else np.full(len(names), True)
                if kind == "period":
                    marks[early & ~known] = kind
                elif one.kind == kind:
                    marks[early & known] = kind
        return marks


def exposure(source: str) -> Exposure:
    """What the model of a source (a run folder, a release, TOKENIZER+PREDICTOR) knows.

    A run's own splits count, those of the runs it started from, and those of replayed bars.
    """
    seen: list[Seen] = []
    gaps = [part for part in _parts(source) if not _collect(part, seen, set())]
    return Exposure(tuple(dict.fromkeys(seen)), bool(gaps))


def require_unseen(origins: Origins, exposures: Mapping[str, Exposure], force: bool) -> dict[str, NDArray[np.str_]]:
    """The marks of each model's windows.

    Raises:
        DataError: windows that a model has seen, unless `force`.
    """
    marks = {name: one.marks(origins) for name, one in exposures.items()}
    complaints = []
    for name, found in marks.items():
        for mark in REFUSED:
            count = int((found == mark).sum())
            if count:
                complaints.append(f"{count:,} of {len(origins):,} windows for {name}: {SAYS[mark]}")
    if complaints and not force:
        raise DataError(
            f"a forecast of bars that a model knows proves nothing. {'; '.join(complaints)}. Leave `start` out, which "
            "begins after them, or pass --force: they are then marked in the results and in the report."
        )
    return marks


def clean_start(store: BarStore, exposures: Mapping[str, Exposure]) -> str | None:
    """The first moment of the data after everything that would be refused; None where nothing would be.

    Raises:
        DataError: no bar is later.
    """
    known = {
        name: one.until
        for name, exposed in exposures.items()
        for one in sorted(exposed.seen, key=lambda seen: seen.until)
        if one.symbols is None or not one.symbols.isdisjoint(store.symbols)
    }
    if not known:
        return None
    name = max(known, key=lambda one: known[one])
    times = np.asarray(store.timestamps)
    later = times[times > known[name]]
    if not len(later):
        raise DataError(
            f"{name} knows bars up to {pd.Timestamp(known[name]).floor('s')}, and there is none after that: a forecast of "
            "what a model was trained or chosen on proves nothing. Keep a test part when training (data.split.val_end "
            "or data.split.test), give later bars, or set start and pass --force: the windows are then marked."
        )
    first = pd.Timestamp(int(later.min()))
    text = str(first.date()) if first == first.normalize() else first.isoformat()
    return text if not any(store.zones) else f"{first.isoformat()}+00:00"


def _parts(source: str) -> Sequence[str]:
    return [source] if Path(source).expanduser().exists() else source.replace("+", ",").split(",")


def _collect(source: str, seen: list[Seen], visited: set[str]) -> bool:
    """Add what a source has seen; False where it is not on record."""
    if source in visited or source == "random":
        return True
    visited.add(source)
    folder = bundled(source) or Path(source).expanduser()
    if _released(source, folder):
        until = int((pd.Timestamp(CUTOFF) + pd.Timedelta(days=1)).value) - 1
        seen.append(Seen("released", until, None))
        return True
    # A checkpoint inside a run folder has the past of the run.
    home = next((place for place in (folder, folder.parent) if (place / "summary.json").is_file()), None)
    if home is None:
        return False
    summary = _read(home / "summary.json", json.loads)
    found = list(_splits(summary.get("data")))
    seen += found
    settings = _read(home / "config.yaml", yaml.safe_load)
    starts = [(settings.get(stage) or {}).get("start") for stage in ("tokenizer", "predictor")]
    known = [_collect(str(start), seen, visited) for start in starts if start]
    return bool(found) and all(known)


def _splits(data: Any) -> Iterator[Seen]:
    """Every span of training and validation in the data part of a summary, however deep: {"splits": {...}}."""
    if isinstance(data, list):
        for one in data:
            yield from _splits(one)
    if not isinstance(data, Mapping):
        return
    if "sources" in data:
        yield from _splits(data["sources"])
        return
    names = data.get("names")
    symbols = frozenset(one for name in names for one in _spellings(str(name))) if isinstance(names, list) else None
    for part, kind in (("train", "trained"), ("val", "validated")):
        found = (data.get("splits") or {}).get(part) if isinstance(data.get("splits"), Mapping) else None
        if found and found.get("last"):
            yield Seen(kind, int(pd.Timestamp(found["last"]).value) + 999_999_999, symbols)  # type: ignore[arg-type]
    for value in data.values():
        if isinstance(value, Mapping | list):
            yield from _splits(value)


def _spellings(name: str) -> Iterator[str]:
    """A symbol as data may call it: training over many sources names it SOURCE:SYMBOL@INTERVAL."""
    bare = name.rpartition("@")[0] or name
    parts = bare.split(":")
    yield from (name, *(":".join(parts[first:]) for first in range(len(parts))))


def _released(source: str, folder: Path) -> bool:
    """A repository of the authors, or its copy in the hub's cache."""
    if folder.is_dir():
        return f"models--{_RELEASER}--" in str(folder.resolve())
    return source.startswith(f"{_RELEASER}/")


def _read(path: Path, parse: Any) -> dict[str, Any]:
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}
