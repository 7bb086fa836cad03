"""Fits a model's calibration on forecasts of past bars: what to mix it with, and how far its bands must be stretched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from chandler.data import CLOSE, LOW, OF_FILES, Bars, SourceSettings, is_store, load_clean, note_lines
from chandler.data.datasets import SplitSettings, split_ranges
from chandler.data.inspection import findings
from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward.contamination import exposure, hand_on
from chandler.evaluation.walk_forward.forecasters import ModelForecaster, forecast_windows, open_model
from chandler.evaluation.walk_forward.origins import Ints, Origins, find_origins
from chandler.evaluation.walk_forward.part_store import chunks_of, in_chunks, inputs
from chandler.evaluation.walk_forward.settings import AUTO, EvaluationSettings
from chandler.forecasting import (
    MIN_HISTORY,
    NAIVE,
    PRICE_FLOOR,
    Calibration,
    Forecast,
    Forecaster,
    ForecastSettings,
    OutOfFold,
    PastForecast,
    Sampling,
    fit_bands,
    fit_blend,
    require_int,
    resampled_bars,
)
from chandler.measures import compare, crps
from chandler.places import require_apart
from chandler.progress import Progress

Array = NDArray[np.float64]
LEVELS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
"""Central bands that are fitted, as far as there are windows enough."""
LEAST = 30
"""Windows below which the fit would be a guess."""
LEAST_ORIGINS = 10
LEAST_APART = 5
"""Origins that share no bars: then each block of time can be judged by a blend that was fitted without its bars."""
WINDOWS, BEFORE = 2_000, 600
"""Forecasts that are made by default, for a calibration that is kept and for one within an evaluation."""
_CHUNK = 64


def calibrate(
    model: str | Path,
    *,
    data: str | Sequence[str] | SourceSettings | None = None,
    out: str | Path | None = None,
    horizon: int | None = None,
    lookback: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    paths: int = 200,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    anchor: bool = True,
    seed: int = 0,
    force: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Calibration:
    """Forecast past bars, fit blend and bands to what came, and write calibration.json.

    Of a finished run the bars are its validation period, and the file goes into its folder. Any other model takes `data`
    and `out`: a folder that then holds the model and its calibration, for `Forecaster.from_pretrained`.

    Args:
        model: a run folder, a repository, TOKENIZER+PREDICTOR, a folder of saved models.
        data: the bars; of a run: where they lie now, if they were moved.
        out: the folder to write; of a run: None for its own.
        horizon: bars ahead; None: that of the run's training windows, else 24.
        lookback: None: the run's, else the model's own.
        stride: bars between two origins; None: the horizon.
        limit: at most so many origins a symbol, evenly spaced; None: as many as make 2,000 forecasts.
        paths: of each forecast, like all up to `seed`; calibrated forecasts are sampled in the same way.
        temperature: see `Sampling`.
        top_p: see `Sampling`.
        top_k: see `Sampling`.
        anchor: as in `Forecaster.forecast`.
        seed: >= 0.
        force: also take bars that the model was trained on; the weights then flatter it.

    Raises:
        ConfigError: no run folder and no `data` or `out`; bars that are not there any more; an impossible seed.
        DataError: too few windows, or too few that the model was not trained on.
        CheckpointError: no model, or a folder that cannot take one.
    """
    shown, source = progress or Progress(), str(model)
    require_int("seed", seed, 0)
    folder = Path(model).expanduser()
    is_run = (folder / "config.yaml").is_file()
    if not is_run and (data is None or out is None):
        raise ConfigError(
            f"{model} is no run folder, so it has no validation period to calibrate on. Give bars, and a folder for the "
            "model with its calibration: chandler calibrate MODEL --data bars.csv --out FOLDER"
        )
    bars, split = _data_of(folder, data) if is_run else (_source(data), None)
    forecaster = open_model(source, device)
    if out is not None:
        require_apart(Path(out), inputs(bars, [source]))
        forecaster.require_savable(out)
    trained = _windows_of(folder) if is_run else (forecaster.lookback or forecaster.max_context, 24)
    steps = horizon or trained[1]
    seen = lookback or trained[0]
    if not is_run and lookback is None:  # beyond the context every bar costs a whole window
        seen = max(MIN_HISTORY, min(seen, forecaster.max_context - steps))
    how = ForecastSettings(paths, Sampling(temperature, top_k, top_p), seen, anchor=anchor)
    store, _ = load_clean(bars)
    for line in note_lines(findings(store, cleaned=bars.cleaning.enabled), store.skipped):
        shown.note(line)
    origins = find_origins(
        store, seen, steps, stride=stride or steps, limit=limit or max(LEAST, WINDOWS // len(store)),
        ranges=None if split is None else split_ranges(store, split)["val"],
    )  # fmt: skip
    if not is_run and not force:
        origins = _unknown(origins, source)
    found = fit_calibration(forecaster, how, origins, seed, shown, f"Calibrating {folder.name}")
    if out is None:
        found.save(folder)
    else:
        forecaster.calibration = found
        hand_on(source, forecaster.save_pretrained(out))
    return found


def fit_calibration(
    forecaster: Forecaster, how: ForecastSettings, origins: Origins, seed: int, shown: Progress, label: str
) -> Calibration:
    """Blend and bands of a model, from its forecasts of past windows.

    The blend is fitted by origin. Bands are fitted on pools by blends that did not see the block of time they are
    judged on; so is what the calibration says of its own worth.

    Raises:
        DataError: too few windows or origins.
    """
    overlap = -(-origins.horizon // origins.apart)
    _enough(len(origins), len(np.unique(origins.rounds)), overlap)

    def forecast(windows: Ints) -> list[PastForecast | None]:
        made = forecast_windows(forecaster, how, origins, windows, seed)
        seeds = origins.seeds(seed, windows)
        return [
            _past(one, origins.bars(int(window))[1], own) for one, window, own in zip(made, windows, seeds, strict=True)
        ]

    track = shown.track(label, len(origins))
    chunks = in_chunks(chunks_of(len(origins), _CHUNK), forecast, track)
    each = [one for found in chunks for one in found]
    kept = np.array([one is not None for one in each])
    origins, moving = origins.take(kept), [one for one in each if one is not None]
    rounds = np.unique(origins.rounds, return_inverse=True)[1]
    _enough(len(origins), int(rounds.max(initial=-1)) + 1, overlap)
    shown.note(f"{label}: fitting blend and bands to {len(moving):,} windows")
    blend, pools = fit_blend(moving, rounds, overlap)
    independent = -(-(int(rounds.max()) + 1) // overlap)
    levels = [level for level in LEVELS if independent >= (1 + level) / (1 - level)]
    ends = np.asarray(origins.store.timestamps)[origins.rows + origins.horizon]
    return Calibration(
        bands=fit_bands(pools, np.stack([one.came for one in moving]), levels, independent),
        sampling=how.sampling,
        lookback=origins.lookback,
        paths=how.paths,
        windows=len(origins),
        first=str(pd.Timestamp(int(origins.targets().min()))),
        last=str(pd.Timestamp(int(ends.max()))),
        anchor=how.anchor,
        origins=int(rounds.max()) + 1,
        blend=blend,
        judged=_judged(moving, pools, rounds, origins),
    )


def calibration_before(model: ModelForecaster, origins: Origins, shown: Progress) -> Calibration:
    """A calibration from the bars before the first that an evaluation forecasts, without those the model was trained on.

    Raises:
        DataError: too few of them.
    """
    store, first = origins.store, int(origins.targets().min())
    times, bounds = np.asarray(store.timestamps), zip(store.offsets[:-1], store.offsets[1:], strict=True)
    before = np.array([(lo, lo + np.searchsorted(times[lo:hi], first)) for lo, hi in bounds], np.int64)
    earlier = find_origins(
        store, origins.lookback, origins.horizon, stride=origins.horizon, limit=max(LEAST, BEFORE // len(store)),
        ranges=before,
    )  # fmt: skip
    label = f"Calibrating {model.name} on the bars before"
    known = _unknown(earlier, model.source)
    return fit_calibration(model.forecaster, model.how, known, model.settings.seed, shown, label)


def _unknown(origins: Origins, source: str) -> Origins:
    """The windows that a model was not trained on. DataError: too few."""
    marks = exposure(source).marks(origins)
    kept = origins.take(~np.isin(marks, ("trained", "released")))
    if len(kept) < LEAST and len(kept) < len(origins):
        raise DataError(
            f"a calibration needs at least {LEAST} windows that the model was not trained on, and {len(kept):,} of "
            f"{len(origins):,} are such: on bars that it knows it looks better than it is. Give later bars."
        )
    return kept


def _past(forecast: Forecast, truth: Bars, seed: int) -> PastForecast | None:
    """What was forecast and came; None where nothing moves, or prices have no logarithm."""
    values, came = forecast.history.values, truth.values[:, CLOSE]
    if values[:, : CLOSE + 1].min() <= 0 or came.min() <= 0:
        return None
    last, unit = float(values[-1, CLOSE]), float(np.diff(np.log(values[:, CLOSE])).std())
    if not unit > 0:
        return None
    count, horizon = forecast.paths.shape[:2]
    own = np.maximum(forecast.paths[..., CLOSE], PRICE_FLOOR * float(values[:, LOW].min()))
    naive = (resampled_bars(values, horizon, count, seed, kind)[..., CLOSE] for kind in NAIVE.values())
    logs = [np.log(one / last) / unit for one in (own, *naive)]
    return PastForecast(logs[0], tuple(logs[1:]), np.log(came / last) / unit)


def _judged(past: Sequence[PastForecast], pools: Sequence[Array], rounds: Ints, origins: Origins) -> OutOfFold:
    """What the blend is worth against the better of its naive members."""
    samples = {"blend": pools, "model": [one.model for one in past]}
    samples |= {name: [one.naive[place] for one in past] for place, name in enumerate(NAIVE)}
    losses = {
        name: np.array([crps(made, one.came).mean() for made, one in zip(each, past, strict=True)])
        for name, each in samples.items()
    }
    means = {name: float(pd.Series(each).groupby(rounds).mean().mean()) for name, each in losses.items()}
    naive = min(NAIVE, key=lambda name: means[name])
    against = compare(losses["blend"], losses[naive], rounds, origins.horizon, stride=origins.apart)
    base = against.mean_b
    return OutOfFold(
        naive,
        means["model"] / base - 1,
        against.difference / base,
        against.low / base,
        against.high / base,
        against.verdict,
    )


def _enough(windows: int, rounds: int, overlap: int) -> None:
    """DataError where the fit would be a guess, or no block of time could be judged by what shares no bars with it."""
    apart = -(-rounds // overlap)
    if windows < LEAST or rounds < LEAST_ORIGINS:
        raise DataError(
            f"a calibration needs at least {LEAST} windows at {LEAST_ORIGINS} different times, found {windows} at {rounds}. "
            "Lower the stride, give more bars, or train with a longer validation period."
        )
    if apart < LEAST_APART:
        raise DataError(
            f"a calibration needs {LEAST_APART} windows one after the other that share no bars, and the {rounds:,} times found "
            f"make {apart}. Give more bars, lower the horizon, or train with a longer validation period."
        )


def calibrate_missing(settings: EvaluationSettings, progress: Progress | None = None) -> list[str]:
    """Calibrate every run of an evaluation that has no calibration, with its windows and sampling; the names of those that
    were.

    What is no run folder (a release, a pair) has no validation period and is passed over with a word.
    """
    shown, runs = progress or Progress(), {}
    for name, source in settings.models.items():
        folder = Path(source).expanduser()
        if Calibration.load(folder) is not None:
            continue
        if (folder / "config.yaml").is_file():
            runs[name] = folder
        else:
            shown.note(f"{name} is no run folder: it is calibrated on the bars before the first that is forecast.")
    if runs and AUTO in (settings.lookback, settings.horizon):
        settings = settings.for_bars(load_clean(settings.data)[0])
    sampled = {"paths", "temperature", "top_p", "top_k", "anchor", "seed", "device"}
    how = settings.model_dump(include={"lookback", "horizon", *sampled})
    for folder in runs.values():
        calibrate(folder, **how, progress=shown)
    return list(runs)


def _source(data: str | Sequence[str] | SourceSettings | None) -> SourceSettings:
    return data if isinstance(data, SourceSettings) else SourceSettings.model_validate({"path": data})


def _data_of(folder: Path, moved: str | Sequence[str] | SourceSettings | None) -> tuple[SourceSettings, SplitSettings]:
    """Source and split of a run, from its config.yaml."""
    raw = _config(folder)
    try:
        split = SplitSettings.model_validate(raw["split"])
        if isinstance(moved, SourceSettings):
            return moved, split
        raw |= {} if moved is None else {"path": moved}
        known = {k: v for k, v in raw.items() if k in SourceSettings.model_fields}
        if moved is not None and all(map(is_store, [moved] if isinstance(moved, str) else moved)):
            known = {k: v for k, v in known.items() if k not in OF_FILES}  # the run's files were read so, no store is
        return SourceSettings.model_validate(known), split
    except (KeyError, TypeError, ValidationError) as error:
        raise _no_run(folder, error) from error


def _windows_of(folder: Path) -> tuple[int, int]:
    """Lookback and horizon of a run."""
    raw = _config(folder)
    try:
        return int(raw["lookback"]), int(raw["horizon"])
    except (KeyError, TypeError, ValueError) as error:
        raise _no_run(folder, error) from error


def _config(folder: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["data"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise _no_run(folder, error) from error


def _no_run(folder: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"{folder}: a calibration needs a folder that `chandler finetune` wrote, with its config.yaml ({error!r:.200})."
    )
