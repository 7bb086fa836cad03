"""What the weights of a checkpoint know: read from the records of the run that made it, and written into every new run.

A record travels: `summary.json` of a run holds what its starts knew, and `exposure.json` beside the weights of each of its
checkpoints all that they know. Folders can be moved, renamed, deleted or copied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from chandler.atomic import write_text
from chandler.checkpoint import EXPOSURE_NAME
from chandler.data.datasets import PRETRAINING_CUTOFF
from chandler.errors import CheckpointError
from chandler.hub import WEIGHTS_NAME, bundled_checkpoint, commit_of, fetch, is_repository
from chandler.training.runs.history import STAGES, digest, read_mapping
from chandler.training.settings import RANDOM

_TOLD = [f"{place}{name}" for place in ("", "tokenizer/", "predictor/") for name in (EXPOSURE_NAME, WEIGHTS_NAME)]
"""What a repository is asked for."""
_RELEASER = "NeoQuasar"
_REST = 999_999_999
"""Of the last second, in ns: records keep seconds."""
Kind = Literal["trained", "validated", "released"]


@dataclass(frozen=True)
class Seen:
    """Bars that a model knows: of some symbols, up to a moment."""

    kind: Kind
    until: int
    """ns, as a store keeps them: the last second seen, whole."""
    symbols: frozenset[str] | None
    """None: any symbol may be among them."""


@dataclass(frozen=True)
class Known:
    """Everything on record about what a model knows."""

    seen: tuple[Seen, ...] = ()
    unknown: bool = False
    """Whether some of its past is not on record."""

    def __or__(self, other: Known) -> Known:
        return Known(tuple(dict.fromkeys((*self.seen, *other.seen))), self.unknown or other.unknown)

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        seen = [
            {
                "kind": one.kind,
                "until": str(pd.Timestamp(one.until).floor("s").isoformat()),
                "symbols": None if one.symbols is None else sorted(one.symbols),
            }
            for one in self.seen
        ]
        return {"seen": seen, "unknown": self.unknown}


UNKNOWN = Known(unknown=True)


def known_of(data: Any) -> Known:
    """What a run of these bars shows a model: `data` of its summary."""
    return Known(tuple(dict.fromkeys(_splits(data))))


def record_of(raw: Any) -> Known:
    """The way back from `Known.to_dict`; unknown where it is no such record."""
    try:
        seen = tuple(
            Seen(
                one["kind"],
                int(pd.Timestamp(one["until"]).value) + _REST,
                None if one["symbols"] is None else frozenset(map(str, one["symbols"])),
            )
            for one in raw["seen"]
        )
        whole = all(one.kind in get_args(Kind) for one in seen)
        return Known(seen, bool(raw["unknown"])) if whole else UNKNOWN
    except (KeyError, TypeError, ValueError):
        return UNKNOWN


def identity(folder: Path | None) -> dict[str, Any]:
    """Which weights those of a checkpoint are: their SHA-256, and the commit where they came from a repository."""
    if folder is None:
        return {}
    found = {"weights": digest(folder / WEIGHTS_NAME), "commit": commit_of(folder)}
    return {name: value for name, value in found.items() if value is not None}


def write_record(folder: Path, knows: Known) -> None:
    """Lay the record of a checkpoint beside its weights."""
    record = {**knows.to_dict(), "weights": digest(folder / WEIGHTS_NAME)}
    write_text(folder / EXPOSURE_NAME, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def known(source: str | Path, visited: frozenset[str] = frozenset()) -> Known:
    """What the model of a source (a run, a checkpoint's folder, the name of a release, "random") knows.

    Of a run its own splits count, those of replayed bars, and what its starts knew, both as it wrote them down. `visited`:
    the sources whose past this one is in.
    """
    source = str(source)
    if source == RANDOM or source in visited:
        return Known()
    folder = bundled_checkpoint(source) or Path(source).expanduser()
    if _released(source, folder):
        return Known(
            (Seen("released", int((pd.Timestamp(PRETRAINING_CUTOFF) + pd.Timedelta(days=1)).value) - 1, None),)
        )
    if not folder.is_dir() and is_repository(source) and not folder.parent.is_dir():
        try:  # with the weights, which the records are held against: whoever asks will load them
            folder = fetch(source, _TOLD)
        except CheckpointError:
            return UNKNOWN
    if (folder / EXPOSURE_NAME).is_file():
        return _beside(folder)
    parts = [folder / name for name in STAGES if (folder / name / EXPOSURE_NAME).is_file()]
    own = reduce(or_, map(_beside, parts), Known())
    beside = own if parts else UNKNOWN
    # A checkpoint inside a run folder, of a run that wrote no record beside it, has the past of the run.
    home = next((place for place in (folder, folder.parent) if (place / "summary.json").is_file()), None)
    summary = read_mapping(home / "summary.json") if home else {}
    found = known_of(summary.get("data"))
    if home is None or not found.seen:
        return beside
    if isinstance(summary.get("starts"), Mapping):
        return reduce(or_, map(record_of, summary["starts"].values()), own | found)
    # A run that did not write down what its starts knew: as it may still be read where they were.
    settings = read_mapping(home / "config.yaml")
    starts = [(settings.get(stage) or {}).get("start") for stage in STAGES]
    return reduce(or_, (known(start, visited | {source}) for start in starts if start), own | found)


def _beside(folder: Path) -> Known:
    """The record of a checkpoint; of other weights than those that it was written for, it may not be all."""
    raw = read_mapping(folder / EXPOSURE_NAME)
    found = record_of(raw)
    return found if raw.get("weights") == digest(folder / WEIGHTS_NAME) else found | UNKNOWN


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
            yield Seen(kind, int(pd.Timestamp(found["last"]).value) + _REST, symbols)  # type: ignore[arg-type]
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
