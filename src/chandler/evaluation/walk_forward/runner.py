"""The walk forward: every contender forecasts every window, chunk by chunk, each chunk a file that is written whole.

A second call with the same settings goes on where the first one stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandler.atomic import write_text
from chandler.data import load_clean, note_lines
from chandler.data.inspection import findings
from chandler.engines import Engine, Local, engine_of
from chandler.errors import ChandlerError, ConfigError, DataError
from chandler.evaluation.walk_forward.calibration import calibrations_along
from chandler.evaluation.walk_forward.contamination import (
    check_contamination,
    exposure,
    first_clean_origin,
    not_on_record,
)
from chandler.evaluation.walk_forward.forecasters import (
    Calibrations,
    EvaluatedForecaster,
    ModelForecaster,
    make_baseline,
)
from chandler.evaluation.walk_forward.origins import Origins, find_origins
from chandler.evaluation.walk_forward.part_store import PartStore, chunks_of, inputs, join, slug, write_table
from chandler.evaluation.walk_forward.scores import naive_times
from chandler.evaluation.walk_forward.settings import EvaluationSettings
from chandler.evaluation.walk_forward.spreading import PARTS, WORK, WORK_FILES, Spread, scores_of
from chandler.places import Layout, require_apart
from chandler.progress import Progress
from chandler.text import count
from chandler.version import __version__

SCORES, STATE, CONFIG = "scores.parquet", "evaluation.json", "config.yaml"
CALIBRATIONS = "calibrations"
"""Those that were fitted for this evaluation, by model."""
FEW_PATHS = 50
"""Paths below which bands flatter a calibrated forecast: the fair CRPS takes draws to be independent (docs/log.md)."""
EXAMPLES = "examples.parquet"
"""The history before some windows, for the candle charts: scores hold only what came after."""
EVALUATION = Layout(
    "an evaluation",
    (
        SCORES,
        STATE,
        CONFIG,
        EXAMPLES,
        "report.html",
        f"{PARTS}/*/[0-9]*.parquet",
        f"{PARTS}/*/[0-9]*.now",
        f"{CALIBRATIONS}/*.json",
        *WORK_FILES,
    ),
    {STATE: "fingerprint"},
)
"""What the folder of an evaluation holds; overwriting removes these and nothing else."""
_FREE = ("out", "models", "baselines", "levels", "device")
"""Settings that leave the forecasts of a contender as they are."""


def evaluate(
    settings: EvaluationSettings,
    *,
    force: bool = False,
    overwrite: bool = False,
    engine: Engine | str = "local",
    progress: Progress | None = None,
) -> Path:
    """Run the evaluation, or go on with it.

    Args:
        settings: what to do; see `load_evaluation`.
        force: forecast bars that a model has seen, and mark them.
        overwrite: remove an earlier evaluation with other settings from the folder first.
        engine: "ray" or one with settings, such as `RayEngine(workers=8)`: parts are made by its workers, with the same
            numbers; the folder and those of models must be where all of them see them.
        progress: what shows it; default: a bar on a terminal, lines elsewhere.

    Returns:
        The folder, which then holds scores.parquet and evaluation.json.

    Raises:
        DataError: bars that cannot be used, or that a model knows (without `force`).
        ConfigError: other settings than those of the evaluation in the folder (without `overwrite`).
        CheckpointError: a model that cannot be loaded.
    """
    shown, chosen = progress or Progress(), engine_of(engine)
    folder = Path(settings.out)
    exposures = {name: exposure(source) for name, source in settings.models.items()}
    store, cleaned = load_clean(settings.data)
    require_apart(folder, inputs(settings.data, settings.models.values()))
    settings = settings.for_bars(store)
    begin = settings.start or (None if force else first_clean_origin(store, exposures))
    origins = find_origins(store, settings.lookback, settings.horizon, stride=settings.apart, limit=settings.origins,
                           start=begin, end=settings.end)  # fmt: skip
    marks = check_contamination(origins, exposures, force)
    # What cannot be loaded is said before the hours, not after.
    models = {name: ModelForecaster(name, source, settings) for name, source in settings.models.items()}
    for text in not_on_record(exposures):
        shown.note(text)
    state = _state(settings, origins, begin)
    found = findings(store, cleaned=settings.data.cleaning.enabled)
    for line in note_lines(found, store.skipped):
        shown.note(line)
    state["reading"] = [one.to_dict(origins.period()) for one in found]
    if cleaned is not None:
        state["cleaning"] = cleaned.to_dict()
    kept = _open(folder, state, overwrite)
    # First of all: stopped at any moment after it, the same call goes on.
    _write_state(folder, {**state, "contenders": kept, "finished": False})
    write_text(folder / CONFIG, settings.to_yaml())
    shown.note(
        f"{count(len(origins), 'window')} of {settings.lookback} + {settings.horizon} bars, "
        f"{count(state['rounds'], 'origin')} of {count(state['symbols'], 'symbol')}, {state['first'][:10]} to {state['last'][:10]}"
    )
    write_table(folder / EXAMPLES, _examples(origins, settings.seed))
    if settings.calibration == "auto":
        for model in models.values():
            _calibrate(model, folder, origins, shown)
    for model in models.values():
        if model.calibrations is not None and settings.paths < FEW_PATHS:
            model.notes.append(
                f"With {settings.paths} paths the CRPS of {model.name} (calibrated) is too good: its bands stretch paths around their "
                f"own middle, which gains 20% with 4 paths, 3% with 10, 0.4% with 30 and nothing with 100. Take {FEW_PATHS} or more."
            )
    chunks, stores, spread = chunks_of(len(origins), settings.chunk), [], Spread(folder, settings, origins)
    contenders = state["contenders"] = {}
    state["left_out"] = {}
    for name, contender in _contenders(settings, models, origins, state["left_out"], shown):
        for note in contender.notes:
            shown.note(note)
        # As it will be read back: tuples become lists.
        facts = contenders[name] = json.loads(json.dumps({**contender.facts, "notes": list(contender.notes)}))
        parts = PartStore(folder / PARTS / slug(name), chunks)
        if kept.get(name) != facts:  # parts without a record may be of anything
            parts.clear()
        _write_state(folder, {**state, "contenders": {**kept, **contenders}, "finished": False})
        stores.append(parts)
        if not isinstance(chosen, Local):
            spread.add(name, contender, marks.get(name))
            continue
        begun = time.monotonic()
        done = parts.fill(partial(scores_of, contender, origins, marks.get(name), settings.seed), shown, name)
        if done:
            shown.note(f"{name}: {done:,} windows in {time.monotonic() - begun:,.0f} s")
    if not stores:
        raise ConfigError("there is nothing left to evaluate: give models, or baselines that need no fit.")
    spread.fill(chosen, stores, shown)
    join((table for parts in stores for table in parts.tables()), folder / SCORES)
    others = {name: facts for name, facts in kept.items() if name not in contenders}
    _write_state(folder, {**state, "kept": others, "finished": True})
    EVALUATION.clear(folder, only={WORK})
    return folder


def _contenders(
    settings: EvaluationSettings,
    models: dict[str, ModelForecaster],
    origins: Origins,
    left_out: dict[str, str],
    shown: Progress,
) -> Iterator[tuple[str, EvaluatedForecaster]]:
    """One at a time; `models` are taken out, so that each is freed when it is done. A baseline that cannot be fitted is
    left out."""
    for name in settings.baselines:
        try:
            baseline = make_baseline(name, settings, origins)
        except DataError as error:
            left_out[name] = str(error)
            shown.note(f"{name} is left out: {error}")
            continue
        yield name, baseline
    for name in settings.models:
        yield name, models.pop(name)


def _calibrate(model: ModelForecaster, folder: Path, origins: Origins, shown: Progress) -> None:
    """Give a model without a calibration those of `calibrations_along`; kept, so that going on does not fit again.

    While it is fitted, the state of the folder says of which model (calibrating).
    """
    if model.calibrations is not None:
        return
    before = read_state(folder)
    path, fitted = (
        folder / CALIBRATIONS / f"{slug(model.name)}.json",
        {"weights": model.weights, "bars": before["fingerprint"]},
    )
    with suppress(OSError, ValueError, KeyError, TypeError, ChandlerError):  # missing or damaged: fitted again
        kept = json.loads(path.read_text(encoding="utf-8"))
        if all(kept[name] == value for name, value in fitted.items()):
            model.calibrations = Calibrations.from_list(kept["calibrations"])
            return
    _write_state(folder, {**before, "calibrating": model.name})
    try:
        model.calibrations = calibrations_along(model, origins, shown)
    except DataError as error:
        model.notes.append(f"{model.name} was not calibrated on the bars before the first that is forecast: {error}")
        return
    finally:
        _write_state(folder, before)
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps({**fitted, "calibrations": model.calibrations.to_list()}, indent=1))


def _examples(origins: Origins, seed: int, count: int = 6, rows: int = 45) -> pd.DataFrame:
    """The last rows of history of some windows drawn at random, before anything is known of any forecast."""
    drawn = np.random.default_rng(seed).choice(len(origins), min(count, len(origins)), replace=False)
    frames = []
    for window in drawn:
        frame = origins.bars(int(window))[0].tail(rows).to_frame().reset_index()
        frame["timestamp"] = naive_times(pd.DatetimeIndex(frame["timestamp"]))
        frames.append(frame.assign(window=int(window), symbol=origins.symbol(int(window))))
    return pd.concat(frames, ignore_index=True)


def _state(settings: EvaluationSettings, origins: Origins, begin: str | None) -> dict[str, Any]:
    """What the folder remembers: enough to tell whether parts belong to these settings and these bars."""
    store = origins.store
    first, last = origins.targets(), np.asarray(store.timestamps)[origins.rows + origins.horizon]
    return {
        "chandler": __version__,
        "settings": {k: v for k, v in settings.model_dump(mode="json").items() if k not in _FREE},
        "start": begin,
        "windows": len(origins),
        "rounds": len(set(origins.rounds.tolist())),
        "symbols": len(set(origins.numbers.tolist())),
        "apart": origins.apart,
        "rows": store.rows,
        "zones": sorted({str(zone) for zone in store.zones}),
        "first": str(np.datetime64(int(first.min()), "ns").astype("datetime64[s]")),
        "last": str(np.datetime64(int(last.max()), "ns").astype("datetime64[s]")),
        "fingerprint": origins.digest(),
    }


def _open(folder: Path, state: dict[str, Any], overwrite: bool) -> dict[str, Any]:
    """The contenders that the folder has forecasts of; refuses a folder of something else.

    Raises:
        ConfigError: it belongs to other settings, or to no evaluation.
    """
    path = folder / STATE
    if overwrite and EVALUATION.is_at(folder):
        EVALUATION.require_own(folder)
        EVALUATION.clear(folder)
        return {}
    if not path.is_file():
        EVALUATION.claim(folder, "no evaluation")
        return {}
    before = read_state(folder)
    changed = [key for key in state["settings"] if before.get("settings", {}).get(key) != state["settings"][key]]
    changed += [key for key in ("start", "windows") if before.get(key) != state[key] and not changed]
    if changed:
        raise ConfigError(
            f"{folder} holds an evaluation with other settings ({', '.join(changed)} changed). Go on with those "
            "settings, choose another folder (out=), or begin anew with overwrite=True."
        )
    if before.get("fingerprint") != state["fingerprint"]:
        raise ConfigError(
            f"{folder} holds an evaluation of other bars (they have changed since, or it is of an earlier version, which did "
            "not tell). Choose another folder (out=), or begin anew with overwrite=True."
        )
    return {**before.get("kept", {}), **before.get("contenders", {})}


def read_state(folder: str | Path) -> dict[str, Any]:
    """evaluation.json of a folder.

    Raises:
        ConfigError: no evaluation there, or one that cannot be read.
    """
    path = Path(folder) / STATE
    if not path.is_file():
        raise ConfigError(
            f"{folder}: no evaluation ({STATE} is missing). Make one with: chandler evaluate DATA --out {folder}"
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}). Make another, or remove this folder first: chandler evaluate DATA --out FOLDER"
        ) from error


def _write_state(folder: Path, state: dict[str, Any]) -> None:
    write_text(folder / STATE, json.dumps(state, indent=1, ensure_ascii=False))
