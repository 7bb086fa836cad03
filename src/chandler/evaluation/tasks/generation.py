"""The generation task: one sampled future beside each real one, judged by the networks of `discriminators`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chandler.atomic import atomic_file, write_text
from chandler.data import CLOSE, Bars, load_clean, note_lines
from chandler.data.datasets import normalise
from chandler.data.inspection import findings
from chandler.errors import ConfigError
from chandler.evaluation.tasks.discriminators import discriminative_score, train_on_synthetic_score
from chandler.evaluation.walk_forward import (
    REFUSED,
    EvaluationSettings,
    ModelForecaster,
    Origins,
    check_contamination,
    chunks_of,
    exposure,
    find_origins,
    first_clean_origin,
    forecast_windows,
    in_chunks,
    inputs,
    mark_notes,
    not_on_record,
    slug,
)
from chandler.measures import block_bootstrap
from chandler.places import Layout, require_apart
from chandler.progress import Progress
from chandler.version import __version__

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Track = AbstractContextManager[Callable[[int], None]]
RESULT, CONFIG, SAMPLES = "generation.json", "config.yaml", "samples"
GENERATION = Layout(
    "a generation task",
    (RESULT, CONFIG, "report.html", f"{SAMPLES}/*.npz"),
    {RESULT: "test_windows", CONFIG: "baselines"},
)
"""What the folder of the task holds; overwriting removes these and nothing else."""
OTHER = "something else than this task"
TEST = 0.3
"""The last share of the rounds judges; the first ones train the networks."""
SEEDS = 3
"""Networks of each kind; what is reported is their mean."""


def generation(
    settings: EvaluationSettings,
    *,
    force: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Sample, train the networks, judge; or go on with what is sampled already.

    Every window gives one real sequence, the horizon after its origin, and one made one of each contender, both in
    units of the window's history (its mean and standard deviation per feature, as the model sees it).

    Returns:
        The folder, which then holds generation.json and samples/. `chandler.reports.write_report` makes its page.

    Raises:
        DataError: bars that cannot be used, that a model knows (without `force`), or too few windows.
        ConfigError: another evaluation in the folder (without `overwrite`).
        CheckpointError: a model that cannot be loaded.
    """
    shown, folder = progress or Progress(), Path(settings.out)
    GENERATION.require_free(folder, OTHER)
    exposures = {name: exposure(source) for name, source in settings.models.items()}
    store, _ = load_clean(settings.data)
    require_apart(folder, inputs(settings.data, settings.models.values()))
    settings = settings.for_bars(store)
    start = settings.start or (None if force else first_clean_origin(store, exposures))
    origins = find_origins(store, settings.lookback, settings.horizon, stride=max(settings.apart, settings.horizon),
                           limit=settings.origins, start=start, end=settings.end)  # fmt: skip
    marks = check_contamination(origins, exposures, force)
    found = findings(store, cleaned=settings.data.cleaning.enabled)
    for text in (*note_lines(found, store.skipped), *not_on_record(exposures)):
        shown.note(text)
    # What cannot be loaded is said before anything is removed.
    models = {name: ModelForecaster(name, source, settings) for name, source in settings.models.items()}
    GENERATION.claim(folder, OTHER)
    if overwrite:
        GENERATION.clear(folder)
    write_text(folder / CONFIG, settings.to_yaml())
    real = np.stack([_in_history_units(*(bars.values for bars in origins.bars(w))) for w in range(len(origins))])
    test = origins.rounds >= np.quantile(np.unique(origins.rounds), 1 - TEST)
    shown.note(
        f"{len(origins):,} windows of {settings.lookback} + {settings.horizon} bars; the last {int(test.sum()):,} judge"
    )
    rows: list[dict[str, Any]] = []
    bars = origins.digest()
    notes = [note for model in models.values() for note in model.notes if "calibration" not in note]
    for name, make, facts in _contenders(settings, models, origins):
        path, claim = folder / SAMPLES / f"{slug(name)}.npz", _claim(settings, bars, facts)
        made = _sampled(path, claim, make, origins, settings.chunk, shown.track(name, len(origins)))
        rows.append({"name": name, **judge(real, made, test, origins.rounds, seed=settings.seed)})
        shown.note(
            f"{name}: told apart with error {rows[-1]['discriminative']:.3f}, TSTR MAE {rows[-1]['tstr_mae']:.4f}"
        )
    notes += [note for name, found in marks.items() for note in mark_notes(found, f"windows of {name}")]
    learned = _learned(real, real, test, settings.seed)
    learned["no_change_mae"] = float(np.abs(np.diff(real[test][:, :, CLOSE], axis=1)).mean())
    result = {
        "chandler": __version__, "task": "generation", "windows": len(origins), "test_windows": int(test.sum()),
        "rounds": len(np.unique(origins.rounds)), "symbols": len(np.unique(origins.numbers)), "lookback": settings.lookback,
        "horizon": settings.horizon, "start": start, "seen": any(bool(np.isin(one, REFUSED).any()) for one in marks.values()),
        "models": list(settings.models), "results": rows, "real": learned, "notes": notes,
        "reading": [one.to_dict(origins.period()) for one in found],
    }  # fmt: skip
    write_text(folder / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
    return folder


def judge(
    real: Array, made: Array, test: NDArray[np.bool_], rounds: NDArray[np.int64], *, seed: int
) -> dict[str, float]:
    """All measures of made sequences (N, H, 6): `discriminative`, the mean over the rounds of the test, with its 95%
    interval (block bootstrap over them), and `tstr_mae`, `tstr_rank_ic`."""
    wrong = np.mean([discriminative_score(real, made, test, seed=seed + one) for one in range(SEEDS)], axis=0)
    by_round = np.array([wrong[rounds[test] == one].mean() for one in np.unique(rounds[test])])
    interval, learned = block_bootstrap(by_round, seed=seed), _learned(made, real, test, seed)
    return {
        "discriminative": float(interval.mean),
        "discriminative_low": float(max(0.0, interval.low)),
        "discriminative_high": float(min(1.0, interval.high)),
        "tstr_mae": learned["mae"],
        "tstr_rank_ic": learned["rank_ic"],
    }


def _learned(source: Array, real: Array, test: NDArray[np.bool_], seed: int) -> dict[str, float]:
    """What networks learn from sequences, of the close; from the real ones: what TSTR is held against."""
    found = [train_on_synthetic_score(source, real, test, CLOSE, seed=seed + one) for one in range(SEEDS)]
    return {
        "mae": float(np.mean([one.mae for one in found])),
        "rank_ic": float(np.mean([one.rank_ic for one in found])),
    }


def shuffled_bars(history: Bars, horizon: int, generator: np.random.Generator) -> Array:
    """A future (H, 6) of past bars in random order: their shapes relative to the close before, drawn one by one."""
    return _replayed(history, generator.integers(1, len(history), horizon))


def past_stretch(history: Bars, horizon: int, generator: np.random.Generator) -> Array:
    """A future (H, 6) that repeats a stretch of the past, moved to the last close: real but for the place. Begins
    anew where the history is shorter than the horizon."""
    begin = int(generator.integers(1, max(2, len(history) - horizon + 1)))
    return _replayed(history, 1 + (begin - 1 + np.arange(horizon)) % (len(history) - 1))


def _replayed(history: Bars, rows: NDArray[np.int64]) -> Array:
    """Past bars, by row, one after another from the last close on."""
    found = history.values[rows].copy()
    shapes = found[:, : CLOSE + 1] / history.values[rows - 1, CLOSE][:, None]
    before = history.values[-1, CLOSE] * np.cumprod(np.concatenate([[1.0], shapes[:-1, CLOSE]]))
    found[:, : CLOSE + 1] = shapes * before[:, None]
    return np.asarray(found, np.float64)


Make = Callable[[Ints], list[Array]]
"""Futures (H, 6) of some windows."""
NAIVE = {"shuffled_bars": shuffled_bars, "past_stretch": past_stretch}


def _contenders(
    settings: EvaluationSettings, models: dict[str, ModelForecaster], origins: Origins
) -> Iterator[tuple[str, Make, Any]]:
    """Name, what makes futures of some windows, and what they depend on; `models` are taken out, to be freed."""
    for name, draw in NAIVE.items():
        yield name, partial(_drawn, draw, origins, settings.seed), name
    for name in settings.models:
        model = models.pop(name)
        yield name, partial(_forecast, model, origins), model.facts["weights"]


def _drawn(draw: Callable[..., Array], origins: Origins, seed: int, windows: Ints) -> list[Array]:
    generators = map(np.random.default_rng, origins.seeds(seed, windows))
    return [
        draw(origins.bars(window)[0], origins.horizon, one) for window, one in zip(windows, generators, strict=True)
    ]


def _forecast(model: ModelForecaster, origins: Origins, windows: Ints) -> list[Array]:
    made = forecast_windows(model.forecaster, replace(model.how, paths=1), origins, windows, model.settings.seed)
    return [one.paths[0] for one in made]


def _claim(settings: EvaluationSettings, bars: str, facts: Any) -> str:
    """What samples depend on; `bars`: the digest of the windows."""
    free = {"out", "models", "baselines", "levels", "device", "chunk", "paths"}
    drawn = settings.model_dump(mode="json", exclude=free)
    return json.dumps([drawn, facts, bars], sort_keys=True)


def _sampled(path: Path, claim: str, make: Make, origins: Origins, chunk: int, track: Track) -> Array:
    """One future of every window, (W, H, 6), from the file if it has been made with this claim before."""
    if path.is_file():
        with np.load(path) as kept:
            if str(kept["claim"]) == claim:
                return np.asarray(kept["made"], np.float64)
    futures = chain.from_iterable(in_chunks(chunks_of(len(origins), chunk), make, track))
    made = np.stack([_in_history_units(origins.bars(w)[0].values, future) for w, future in enumerate(futures)])
    with atomic_file(path) as scratch, scratch.open("wb") as handle:  # a name would be given a suffix
        np.savez_compressed(handle, made=made.astype(np.float32), claim=np.array(claim))
    return made.astype(np.float32).astype(np.float64)


def _in_history_units(history: Array, future: Array) -> Array:
    """The future as the model sees windows: (x - mean) / std of the history, clipped at 5."""
    return np.asarray(normalise(np.concatenate([history, future]), len(history))[0][len(history) :], np.float64)


def read_generation(folder: str | Path) -> dict[str, Any]:
    """generation.json of a folder. ConfigError where there is none."""
    path = Path(folder) / RESULT
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: no finished generation task ({error}). Run it first.") from None
