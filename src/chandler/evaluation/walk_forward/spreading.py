"""The parts of an evaluation on an engine: what workers read is laid into its folder, and they write parts beside it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chandler.atomic import write_text
from chandler.data.store import BarStore
from chandler.engines import Engine, FewerAtATime, Item
from chandler.errors import ConfigError
from chandler.evaluation.walk_forward.forecasters import Calibrations, EvaluatedForecaster, ModelForecaster
from chandler.evaluation.walk_forward.origins import Ints, Origins
from chandler.evaluation.walk_forward.part_store import PartStore, slug, write_table
from chandler.evaluation.walk_forward.scores import score_rows, score_table
from chandler.evaluation.walk_forward.settings import EvaluationSettings
from chandler.forecasting import model_parts
from chandler.places import existing
from chandler.progress import Progress

PARTS, WORK = "parts", "workers"
WORK_FILES = (f"{WORK}/bars/*", f"{WORK}/*.npy")
"""What workers read, within the folder; it goes when all is done."""


def scores_of(
    contender: EvaluatedForecaster, origins: Origins, marks: NDArray[np.str_] | None, seed: int, windows: Ints
) -> pa.Table:
    """The rows of some windows, twin after twin."""
    return score_table(_rows(contender, origins, marks, seed, windows))


def _rows(
    contender: EvaluatedForecaster, origins: Origins, marks: NDArray[np.str_] | None, seed: int, windows: Ints
) -> list[dict[str, Any]]:
    found = []
    for name, samples in contender.samples(origins, windows).items():
        for window, sample, drawn in zip(windows, samples, origins.seeds(seed, windows), strict=True):
            mark = "" if marks is None else str(marks[window])
            head = {"model": name, "window": int(window), "round": int(origins.rounds[window]), "mark": mark}
            found.append(head | score_rows(sample, *origins.bars(window), drawn))
    return found


@dataclass(frozen=True)
class _Model:
    """A model as a worker opens it again."""

    source: str
    weights: str
    calibrations: Calibrations | None


@dataclass(frozen=True)
class Spread:
    """Contenders whose parts are made together, so that workers start once."""

    folder: Path
    settings: EvaluationSettings
    origins: Origins
    given: dict[str, Any] = field(default_factory=dict)
    """Name -> a model, or a baseline as it was fitted here."""

    def add(self, name: str, contender: EvaluatedForecaster, marks: NDArray[np.str_] | None) -> None:
        """One more, and the marks of its windows."""
        (self.folder / WORK).mkdir(exist_ok=True)
        if marks is not None:
            np.save(self.folder / WORK / f"{slug(name)}.npy", marks)
        self.given[name] = contender
        if isinstance(contender, ModelForecaster):
            parts = model_parts(contender.source)
            source = "+".join(str(Path(one).expanduser().absolute()) if existing([one]) else one for one in parts)
            self.given[name] = _Model(source, contender.weights, contender.calibrations)

    def fill(self, engine: Engine, stores: Sequence[PartStore], shown: Progress) -> None:
        """Make the parts that are missing; nothing, where none was added. Errors as of `Engine.spread`."""
        if not self.given:
            return
        o, chunk = self.origins, self.settings.chunk
        items: list[Item] = [
            (name, number, chunk)
            for name, parts in zip(self.given, stores, strict=True)
            for number, path in enumerate(parts.paths)
            if not path.is_file()
        ]
        total, left = len(o) * len(stores), sum(min(chunk, len(o) - number * chunk) for _, number, _ in items)
        o.store.save(self.folder / WORK / "bars")
        np.save(self.folder / WORK / "origins.npy", np.stack([o.numbers, o.rows, o.rounds]))
        folder = self.folder.absolute()
        # The last: workers that served another call read anew.
        common = (folder, self.settings.model_dump_json(), o.apart, self.given, secrets.token_hex(4))
        smaller = FewerAtATime(lambda item: _path(folder, item[0], item[1]).with_suffix(".now"))
        with shown.track("Evaluating", total, total - left) as report:
            for done in engine.spread(score_part, items, common, smaller):
                report(done)


def score_part(
    folder: Path,
    told: str,
    apart: int,
    given: Mapping[str, Any],
    token: str,
    name: str,
    number: int,
    batch: int,
) -> int:
    """Write part `number` of a contender unless it is there, `batch` windows at a time; of how many windows it is.

    `told`: the settings, as JSON; `given`: see `Spread`; `token`: another one for each call of `evaluate`."""
    settings, origins = _opened(folder, told, apart, token)
    first, path = number * settings.chunk, _path(folder, name, number)
    windows = np.arange(first, min(first + settings.chunk, len(origins)))
    if path.is_file():
        return len(windows)
    contender = given[name]
    if isinstance(contender, _Model):
        contender = _model(name, contender.source, contender.weights, told, token)
        contender.calibrations = given[name].calibrations
    marked = folder / WORK / f"{slug(name)}.npy"
    marks = np.load(marked, mmap_mode="r") if marked.is_file() else None
    found: dict[str, list[dict[str, Any]]] = {}
    for begin in range(0, len(windows), batch):
        some = windows[begin : begin + batch]
        if batch == 1:  # whoever is killed now is told by name
            write_text(path.with_suffix(".now"), origins.symbol(int(some[0])))
        for row in _rows(contender, origins, marks, settings.seed, some):
            found.setdefault(row["model"], []).append(row)
    write_table(path, score_table([row for rows in found.values() for row in rows]))
    path.with_suffix(".now").unlink(missing_ok=True)
    return len(windows)


@lru_cache(maxsize=1)
def _opened(folder: Path, told: str, apart: int, token: str) -> tuple[EvaluationSettings, Origins]:
    """Once a worker; mapped, as bars are: millions of windows cost no memory of each worker's own."""
    settings, store = EvaluationSettings.model_validate_json(told), BarStore.open(folder / WORK / "bars")
    numbers, rows, rounds = np.load(folder / WORK / "origins.npy", mmap_mode="r")
    return settings, Origins(store, settings.lookback, settings.horizon, numbers, rows, rounds, apart)


@lru_cache(maxsize=1)
def _model(name: str, source: str, weights: str, told: str, token: str) -> ModelForecaster:
    """Once a worker and model. ConfigError: it finds other weights than the driver."""
    made = ModelForecaster(name, source, EvaluationSettings.model_validate_json(told))
    if made.weights != weights:
        raise ConfigError(
            f"{source}: a worker finds other weights there than the evaluation began with. Give a model that all nodes see "
            "alike, in a shared folder."
        )
    return made


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / PARTS / slug(name) / f"{number:06d}.parquet"
