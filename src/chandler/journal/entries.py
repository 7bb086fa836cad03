"""One forecast as a journal keeps it: what it said, of which bars, made by what, when; as a row of a Parquet file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chandler.atomic import atomic_file
from chandler.data import CLOSE, FEATURES
from chandler.errors import DataError
from chandler.forecasting import Forecast, Sampling
from chandler.journal.clock import over
from chandler.version import __version__

FACTS = {
    "id": pa.string(), "symbol": pa.string(), "zone": pa.string(), "origin": pa.int64(), "times": pa.list_(pa.int64()),
    "step": pa.int64(), "last": pa.float64(), "model": pa.string(), "weights": pa.string(), "paths": pa.int32(),
    "temperature": pa.float64(), "top_k": pa.int32(), "top_p": pa.float64(), "seed": pa.string(), "calendar": pa.string(),
    "calibrated": pa.bool_(), "anchored": pa.bool_(), "made": pa.int64(), "over": pa.int64(), "clock": pa.string(),
    "version": pa.string(), "asked": pa.string(),
}  # fmt: skip
"""Columns that are read for every entry; moments are ns since 1970, wall clock where `zone` is null, else UTC."""
_ARRAYS = {"closes": pa.list_(pa.float32()), "means": pa.list_(pa.float32()), "history": pa.list_(pa.float64())}
"""Those that are read of an entry that is scored."""
SCHEMA = pa.schema({**FACTS, **_ARRAYS})


@dataclass(frozen=True, eq=False)
class Entry:
    """A forecast of one symbol, kept."""

    symbol: str
    origin: pd.Timestamp
    """Time of the last bar of the history."""
    times: pd.DatetimeIndex
    """(H,) of the forecast bars, in the zone of the history."""
    step: pd.Timedelta
    """The usual spacing of the history."""
    closes: NDArray[np.float32]
    """(P, H) paths of the close, in price units."""
    means: NDArray[np.float32]
    """(H, 6) mean of each feature over the paths."""
    history: NDArray[np.float64]
    """(T,) closes that the model saw, the last one that of the origin."""
    model: str
    weights: str
    """`checkpoint.weights_hash` of tokenizer and predictor; empty: not known."""
    sampling: Sampling
    seed: int
    calendar: str
    calibrated: bool
    anchored: bool
    made: pd.Timestamp
    """When it was kept, in UTC."""
    over: pd.Timestamp
    """When the first of its bars was over at the earliest, in UTC."""
    clock: str
    """By which clock: see `clock.over`."""
    version: str = __version__
    asked: str = ""
    """The request that it was made for, as JSON of whoever kept it; empty: not known."""

    @property
    def live(self) -> bool:
        """Whether it was shown to be made before the first of its bars was over; else it was made after the fact."""
        return self.made < self.over

    @cached_property
    def id(self) -> str:
        """A digest of what it says, of which bars, and of what made it: not of when it was kept."""
        facts = self._facts()
        for name in ("made", "over", "clock", "version", "calendar", "asked"):
            del facts[name]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for values in (self.closes, self.means, self.history):
            digest.update(str(values.shape).encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:24]

    def _facts(self) -> dict[str, Any]:
        s, zone = self.sampling, self.times.tz
        return {
            "symbol": self.symbol,
            "zone": None if zone is None else str(zone),
            "origin": self.origin.as_unit("ns").value,
            "times": self.times.as_unit("ns").asi8.tolist(),
            "step": self.step.as_unit("ns").value,
            "last": float(self.history[-1]),
            "model": self.model,
            "weights": self.weights,
            "paths": len(self.closes),
            "temperature": float(s.temperature),
            "top_k": int(s.top_k or 0),
            "top_p": float(1.0 if s.top_p is None else s.top_p),
            "seed": str(self.seed),
            "calendar": self.calendar,
            "calibrated": self.calibrated,
            "anchored": self.anchored,
            "made": self.made.as_unit("ns").value,
            "over": self.over.as_unit("ns").value,
            "clock": self.clock,
            "version": self.version,
            "asked": self.asked,
        }

    def to_row(self) -> dict[str, Any]:
        """For `SCHEMA`."""
        arrays = {name: getattr(self, name).ravel() for name in _ARRAYS}
        return {"id": self.id, **self._facts(), **arrays}

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Entry:
        """What `to_row` gave."""
        shape, zone = (row["paths"], len(row["times"])), row["zone"]
        times = times_in(row["times"], zone)
        return cls(
            symbol=row["symbol"],
            origin=times_in([row["origin"]], zone)[0],
            times=times,
            step=pd.Timedelta(row["step"], "ns"),
            closes=np.asarray(row["closes"], np.float32).reshape(shape),
            means=np.asarray(row["means"], np.float32).reshape(shape[1], len(FEATURES)),
            history=np.asarray(row["history"], np.float64),
            model=row["model"],
            weights=row["weights"],
            sampling=Sampling(row["temperature"], row["top_k"], row["top_p"]),
            seed=int(row["seed"]),
            calendar=row["calendar"],
            calibrated=row["calibrated"],
            anchored=row["anchored"],
            made=pd.Timestamp(row["made"], tz="UTC"),
            over=pd.Timestamp(row["over"], tz="UTC"),
            clock=row["clock"],
            version=row["version"],
            asked=row["asked"] or "",
        )


def entry_of(forecast: Forecast, made: pd.Timestamp, weights: str = "", asked: str = "") -> Entry:
    """What a journal keeps of a forecast. `made`: when it was kept, in UTC; `weights`: the digest of its models; `asked`: see `Entry`."""
    history, sampling = forecast.history, forecast.sampling
    step = history.interval
    end, clock = over(forecast.timestamps[0], history.timestamps, step, forecast.calendar)
    return Entry(
        symbol=forecast.symbol,
        origin=history.timestamps[-1],
        times=forecast.timestamps,
        step=step,
        closes=forecast.paths[:, :, CLOSE].astype(np.float32),
        means=forecast.paths.mean(axis=0).astype(np.float32),
        history=np.asarray(history.values[:, CLOSE], np.float64),
        model=forecast.model,
        weights=weights,
        sampling=Sampling(sampling.temperature, sampling.top_k or 0, 1.0 if sampling.top_p is None else sampling.top_p),
        seed=forecast.seed,
        calendar=forecast.calendar,
        calibrated=forecast.calibrated,
        anchored=forecast.anchored,
        made=made,
        over=end,
        clock=clock,
        asked=asked,
    )


def write_entries(entries: Sequence[Entry], path: Path) -> None:
    """As one file, whole or not at all."""
    table = pa.Table.from_pylist([one.to_row() for one in entries], schema=SCHEMA)
    with atomic_file(path) as scratch:
        pq.write_table(table, scratch, compression="zstd")


def read_facts(paths: Iterable[Path]) -> pd.DataFrame:
    """`FACTS` of every entry, a row each in the order of their making, and `file`; of one that was kept twice the first.

    Raises:
        DataError: a file that cannot be read.
    """
    tables = [pa.schema(FACTS).empty_table().append_column("file", pa.array([], pa.string()))]
    for path in paths:
        table = _read(path, list(FACTS))
        tables.append(table.append_column("file", pa.array([str(path)] * len(table), pa.string())))
    found = pa.concat_tables(tables).to_pandas()
    # Of some that have no zone pandas makes NaN.
    found["zone"] = pd.Series([zone if isinstance(zone, str) else None for zone in found["zone"]], dtype=object)
    found["asked"] = found["asked"].fillna("")
    return found.sort_values("made", kind="stable").drop_duplicates("id").reset_index(drop=True)


def read_ids(paths: Iterable[Path]) -> set[str]:
    """The ids of all entries; DataError as `read_facts`."""
    return {key for path in paths for key in _ids(path, *_state(path))}


@lru_cache(maxsize=4096)
def _ids(path: Path, changed: int, size: int) -> tuple[str, ...]:
    """Of one file, which is read again only if it is another: whoever keeps forecasts by and by asks for all ids each time."""
    return tuple(_read(path, ["id"]).column(0).to_pylist())


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0  # reading it says what is wrong
    return found.st_mtime_ns, found.st_size


def read_entries(path: Path, ids: Iterable[str]) -> list[Entry]:
    """The entries of a file whose ids are asked for.

    Raises:
        DataError: a file that cannot be read, or an entry that says something else than when it was kept.
    """
    wanted, found = set(ids), []
    table = _read(path, None)
    for number, facts in enumerate(table.select(list(FACTS)).to_pylist()):
        if facts["id"] not in wanted:
            continue
        row = facts | {name: table[name][number].values.to_numpy() for name in _ARRAYS}
        entry = Entry.of_row(row)
        if entry.id != row["id"]:
            raise DataError(
                f"{path}: the forecast of {entry.symbol} from {entry.origin} was changed after it was kept, and is no record "
                "any more. Put the file back as it was, or move it out of the journal."
            )
        found.append(entry)
        wanted.discard(row["id"])
    return found


def times_in(moments: Sequence[int] | NDArray[np.int64], zone: str | None) -> pd.DatetimeIndex:
    """Times of moments in ns, in a zone; None: naive."""
    index = pd.DatetimeIndex(np.asarray(moments, np.int64).view("M8[ns]"))
    return index if zone is None else index.tz_localize("UTC").tz_convert(zone)


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        # By this schema a file has the columns that came after it, all null.
        return pq.read_table(path, columns=columns, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path}: cannot be read as entries of a journal ({error}). Move it away, or put it back as it was."
        ) from None
