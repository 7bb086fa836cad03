"""Forecasts of many symbols in parts: each a file that appears whole, made by whatever worker has time for it.

Beside OUT lies the folder OUT.parts until all are there: forecast.json (the settings, and what bars and weights they are
of), the bars as workers map them, and the parts. Stopped at any moment, the same call goes on from the parts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chandler.atomic import atomic_file, write_text
from chandler.data import BarStore
from chandler.engines import Engine, FewerAtATime, engine_of
from chandler.errors import ConfigError
from chandler.forecasting import (
    SUGGESTED,
    Forecaster,
    ForecastSettings,
    TableRow,
    forecasts_to_frame,
    model_hash,
    needs_utc,
)
from chandler.places import Layout
from chandler.progress import Progress
from chandler.version import __version__

STATE, BARS, PARTS = "forecast.json", "bars", "parts"
FOLDER = Layout(
    "parts of a forecast", (STATE, f"{BARS}/*", f"{PARTS}/[0-9]*.parquet", f"{PARTS}/[0-9]*.now"), {STATE: "bars"}
)
"""What OUT.parts holds, and all that is ever removed from it."""
_CALENDARS, _ROWS, _DIGEST = b"PANDAS_ATTRS", b"chandler_rows", b"chandler_digest"
"""In the metadata of a part: what made the timestamps (as pandas keeps `attrs`), its table rows, whose part it is."""


def forecast_parts(
    model: str | Path | Sequence[str | Path],
    store: BarStore,
    horizon: int,
    out: str | Path,
    *,
    settings: ForecastSettings | None = None,
    seed: int = 0,
    chunk: int = 64,
    device: str = "auto",
    engine: Engine | str = "ray",
    progress: Progress | None = None,
) -> list[TableRow]:
    """Forecast every symbol of a store and write all paths to a Parquet file: the rows of `Forecaster.forecast_many` and
    `write_table`, the same to the bit on processors of one kind, whatever chunk, workers and interruptions there were.

    Args:
        model: as `Forecaster.from_pretrained` takes it; a folder must be one that all workers see, as must `out`.
        out: the file, which ends in .parquet. Until it is whole, parts are kept in `out`.parts, from which the same call
            goes on.
        settings: how; None: as `Forecaster.forecast` by default.
        chunk: symbols of a part: what the loss of a worker costs, and what its memory must hold.
        device: of each worker, as in `Forecaster`.
        engine: "ray", "local", or one with settings such as `RayEngine(workers=8)`.
        progress: what shows it; default: a bar on a terminal, lines elsewhere.

    Returns:
        A row for each symbol, as `table_text` prints them.

    Raises:
        ConfigError: Ray cannot be had; parts of other settings beside `out`; a symbol that does not fit in memory.
        DataError, CheckpointError: as `Forecaster`.
    """
    out, engine, shown = Path(out).expanduser().absolute(), engine_of(engine), progress or Progress()
    if out.suffix.lower() != ".parquet":
        raise ConfigError(f"{out}: parts are joined to a Parquet file. Give a name that ends in .parquet.")
    if chunk < 1:
        raise ConfigError(f"chunk={chunk}: give at least one symbol.")
    utc, how = needs_utc(dict(zip(store.symbols, store.zones, strict=True))), settings or ForecastSettings()
    folder = out.with_name(out.name + ".parts")
    source = [str(model)] if isinstance(model, str | Path) else list(map(str, model))
    source = [str(Path(one).expanduser().absolute()) if Path(one).expanduser().exists() else one for one in source]
    state = _state(source, store, horizon, how, seed) | {"chunk": chunk}
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
    _open(folder, state)
    if not (folder / BARS).is_dir():
        store.save(folder / BARS)
    paths = [_path(folder, number) for number in range(-(-len(store) // chunk))]
    todo = [number for number, path in enumerate(paths) if not path.is_file()]
    sizes = [min(chunk, len(store) - number * chunk) for number in todo]
    with shown.track("Forecasting", len(store), len(store) - sum(sizes), "symbols") as report:
        job = _Job(folder, digest, tuple(source), state["weights"], device, how, horizon, seed, chunk, utc)
        smaller = FewerAtATime(lambda item: _path(folder, item[0]).with_suffix(".now"))
        for done in engine.spread(forecast_part, [(number, chunk) for number in todo], (job,), smaller):
            report(done)
    rows = _join(paths, out, digest)
    FOLDER.clear(folder)
    if not any(folder.iterdir()):
        folder.rmdir()
    return rows


@dataclass(frozen=True)
class _Job:
    """What all parts have in common."""

    folder: Path
    digest: str
    """Of all that decides what is in them: another forecast in the same place is another job."""
    model: tuple[str, ...]
    weights: str
    device: str
    settings: ForecastSettings
    horizon: int
    seed: int
    chunk: int
    utc: bool


def forecast_part(job: _Job, number: int, batch: int) -> int:
    """Write part `number` unless it is there, `batch` symbols at a time; of how many symbols it is."""
    store, forecaster = _opened(job)
    first = number * job.chunk
    symbols, path = store.symbols[first : first + job.chunk], _path(job.folder, number)
    if path.is_file():
        return len(symbols)
    forecasts = []
    for begin in range(0, len(symbols), batch):
        names = symbols[begin : begin + batch]
        if batch == 1:  # whoever is killed now is told by name
            write_text(path.with_suffix(".now"), names[0])
        forecasts += forecaster.forecast_with(
            job.settings, [store[name] for name in names], job.horizon, seed=job.seed,
            suggest=max(0, SUGGESTED - first - begin), progress=False,
        )  # fmt: skip
    frame = forecasts_to_frame(forecasts)
    if job.utc:
        frame["timestamp"] = frame["timestamp"].dt.tz_convert("UTC")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    rows = json.dumps([asdict(TableRow.of(one)) for one in forecasts])
    own = {_CALENDARS: json.dumps(frame.attrs), _ROWS: rows, _DIGEST: job.digest}
    with atomic_file(path) as scratch:
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), scratch)
    path.with_suffix(".now").unlink(missing_ok=True)
    return len(symbols)


@lru_cache(maxsize=1)
def _opened(job: _Job) -> tuple[BarStore, Forecaster]:
    """Bars and models, once a worker."""
    forecaster = _forecaster(job.model, job.device)
    if model_hash(forecaster) != job.weights:
        raise ConfigError(
            f"{'+'.join(job.model)}: a worker finds other weights there than were found when the forecast began. Give a "
            "model that all nodes see alike, in a shared folder or at a revision."
        )
    return BarStore.open(job.folder / BARS), forecaster


def _forecaster(source: Sequence[str], device: str) -> Forecaster:
    return Forecaster.from_pretrained(source if len(source) == 2 else source[0], device=device)


def _state(source: list[str], store: BarStore, horizon: int, settings: ForecastSettings, seed: int) -> dict[str, Any]:
    """What parts are of: equal ones may be joined. The models are loaded once, so that what is wrong with them is said
    before workers start."""
    made = _forecaster(source, "cpu")
    calibration = made.calibration if settings.calibrated else None
    digest = hashlib.sha256(repr((store.symbols, store.zones)).encode())
    for lo, hi in map(store.span, range(len(store))):
        for rows in (store.values, store.timestamps):
            digest.update(np.ascontiguousarray(rows[lo:hi]).tobytes())
    return {
        "chandler": __version__,
        "model": source,
        "weights": model_hash(made),
        "sees": [made.max_context, made.lookback, made.calendar, made.positions],
        "calibration": None if calibration is None else calibration.to_dict(),
        "forecast": asdict(settings)
        | {"memory_budget": None},  # it changes no number: parts of different ones may be joined
        "horizon": horizon,
        "seed": seed,
        "bars": digest.hexdigest()[:16],
    }


def _open(folder: Path, state: dict[str, Any]) -> None:
    """Claim the folder, or go on in it. ConfigError: it holds parts of something else."""
    path = folder / STATE
    if path.is_file():
        FOLDER.require(folder)
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name, value in json.loads(json.dumps(state)).items() if before.get(name) != value]
        if changed:
            raise ConfigError(
                f"{folder} holds parts of a forecast with other settings ({', '.join(changed)} changed). Go on with those, "
                "remove that folder, or write to another file (out=)."
            )
        return
    FOLDER.claim(folder, "no parts of a forecast")
    write_text(path, json.dumps(state, indent=1))


def _join(paths: Sequence[Path], out: Path, digest: str) -> list[TableRow]:
    """All parts in one file, one in memory at a time; their table rows.

    Raises:
        ConfigError: a part of other settings, or the place cannot be written.
    """
    calendars: dict[str, str] = {}
    rows: list[TableRow] = []
    for path in paths:
        told = pq.read_schema(path).metadata or {}
        if told.get(_DIGEST, b"").decode() != digest:
            raise ConfigError(f"{path} is a part of a forecast with other settings. Remove it: it is made again.")
        calendars |= json.loads(told[_CALENDARS])["calendar"]
        rows += [
            TableRow(**one | {name: tuple(one[name]) for name in ("cells", "notes")}) for one in json.loads(told[_ROWS])
        ]
    schema = pq.read_schema(paths[0])
    kept = {name: value for name, value in schema.metadata.items() if name not in (_ROWS, _DIGEST)}
    schema = schema.with_metadata({**kept, _CALENDARS: json.dumps({"calendar": calendars})})
    try:
        with atomic_file(out) as scratch, pq.ParquetWriter(scratch, schema) as writer:
            for path in paths:
                writer.write_table(pq.read_table(path).cast(schema))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}).") from error
    return rows


def _path(folder: Path, number: int) -> Path:
    return folder / PARTS / f"{number:06d}.parquet"
