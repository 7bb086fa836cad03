"""Fits a model's calibration on forecasts of past bars: what to mix it with, and how far its bands must be stretched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import yaml

from chandler.data import OF_FILES, SourceSettings, is_store, load_clean, note_lines
from chandler.data.datasets import SplitSettings, split_ranges
from chandler.data.inspection import findings
from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward.contamination import exposure, hand_on
from chandler.evaluation.walk_forward.forecasters import Calibrations, ModelForecaster, open_model
from chandler.evaluation.walk_forward.origins import Origins, find_origins, ranges_between
from chandler.evaluation.walk_forward.part_store import inputs
from chandler.evaluation.walk_forward.past import LEAST, LEAST_ORIGINS, PastForecasts
from chandler.evaluation.walk_forward.settings import AUTO, EvaluationSettings
from chandler.forecasting import MIN_HISTORY, Calibration, ForecastSettings, Sampling, require_int
from chandler.places import require_apart
from chandler.progress import Progress

WINDOWS, BEFORE = 2_000, 600
"""Forecasts that are made by default, for a calibration that is kept and for one within an evaluation."""


def calibrate(
    model: str | Path,
    *,
    data: str | Sequence[str] | SourceSettings | None = None,
    out: str | Path | None = None,
    horizon: int | None = None,
    lookback: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    paths: int = 100,
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

    Of a finished run the bars are its validation period, and the file goes into its folder. Any model takes `data` and `out`:
    then it is calibrated on those bars, as far as it was not trained on them, and `out` is a folder that holds the model and
    its calibration, for `Forecaster.from_pretrained`. So does a run as bars come that it was not validated with.

    Args:
        model: a run folder, a repository, TOKENIZER+PREDICTOR, a folder of saved models.
        data: the bars; of a run without `out`: where its own lie now, if they were moved.
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
    validates = is_run and (data is None or out is None)
    if not is_run and (data is None or out is None):
        raise ConfigError(
            f"{model} is no run folder, so it has no validation period to calibrate on. Give bars, and a folder for the "
            "model with its calibration: chandler calibrate MODEL --data bars.csv --out FOLDER"
        )
    bars, split, window = _run_of(folder, data) if is_run else (_source(data), None, None)
    forecaster = open_model(source, device)
    if out is not None:
        require_apart(Path(out), inputs(bars, [source]))
        forecaster.require_savable(out)
    trained = window or (forecaster.lookback or forecaster.max_context, 24)
    steps = horizon or trained[1]
    seen = lookback or trained[0]
    if not is_run and lookback is None:  # beyond the context every bar costs a whole window
        seen = max(MIN_HISTORY, min(seen, forecaster.max_context - steps))
    how = ForecastSettings(paths, Sampling(temperature, top_k, top_p), seen, anchor=anchor)
    store, _ = load_clean(bars)
    for line in note_lines(findings(store, cleaned=bars.cleaning.enabled), store.skipped):
        shown.note(line)
    ranges = split_ranges(store, split)["val"] if validates and split is not None else None
    origins = find_origins(store, seen, steps, stride=stride or steps, ranges=ranges)
    if not validates and not force:
        origins = _unknown(origins, source)
    origins = origins.at_most(limit or max(LEAST, WINDOWS // len(store)))
    found = PastForecasts.make(forecaster, how, origins, seed, shown, f"Calibrating {folder.name}").fit()
    if out is None:
        found.save(folder)
    else:
        forecaster.calibration = found
        hand_on(source, forecaster.save_pretrained(out))
    return found


def calibrations_along(model: ModelForecaster, origins: Origins, shown: Progress) -> Calibrations:
    """A calibration from the bars before the first that an evaluation forecasts, and more along its period, each from all that
    had come by then; without bars that the model was trained on.

    Raises:
        DataError: too few bars before the first.
    """
    store, rounds = origins.store, np.unique(origins.rounds)
    times, first = np.asarray(store.timestamps), int(origins.targets().min())
    blocks = max(1, min(1 + model.settings.recalibrations, len(rounds) // LEAST_ORIGINS))
    begins = rounds[np.linspace(0, len(rounds), blocks, endpoint=False).round().astype(int)][1:]
    moments = [int(times[origins.rows[origins.rounds == begin]].min()) for begin in begins]
    most = max(LEAST, BEFORE // len(store))
    found = _unknown(_between(origins, None, first), model.source).at_most(most)
    if moments:
        with suppress(DataError):  # no window lies between, or the model was trained on them: the first one stays
            later = _unknown(_between(origins, first, moments[-1] + 1), model.source)
            found = found.followed_by(later.at_most(min(most, len(rounds))))
    label = f"Calibrating {model.name} on the bars before"
    past = PastForecasts.make(model.forecaster, model.how, found, model.settings.seed, shown, label)
    fitted = {moment: past.fit(moment) for moment in (first - 1, *moments)}
    return Calibrations(tuple(fitted), tuple(fitted.values()))


def _between(origins: Origins, begin: int | None, end: int) -> Origins:
    """Windows whose forecast bars lie in [begin, end), ns, a horizon apart. DataError: none."""
    ranges = ranges_between(origins.store, begin, end)
    return find_origins(origins.store, origins.lookback, origins.horizon, stride=origins.horizon, ranges=ranges)


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
    left_open = (
        AUTO in (settings.lookback, settings.horizon) or not {"lookback", "horizon"} <= settings.model_fields_set
    )
    if runs and left_open:
        settings = settings.for_bars(load_clean(settings.data)[0])
    sampled = {"paths", "temperature", "top_p", "top_k", "anchor", "seed", "device"}
    how = settings.model_dump(include={"lookback", "horizon", *sampled})
    for folder in runs.values():
        calibrate(folder, **how, progress=shown)
    return list(runs)


def _source(data: str | Sequence[str] | SourceSettings | None) -> SourceSettings:
    return data if isinstance(data, SourceSettings) else SourceSettings.model_validate({"path": data})


def _run_of(
    folder: Path, moved: str | Sequence[str] | SourceSettings | None
) -> tuple[SourceSettings, SplitSettings, tuple[int, int]]:
    """Source and split of a run, its lookback and horizon, from its config.yaml."""
    try:
        raw = dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["data"])
        split, window = SplitSettings.model_validate(raw["split"]), (int(raw["lookback"]), int(raw["horizon"]))
        if isinstance(moved, SourceSettings):
            return moved, split, window
        raw |= {} if moved is None else {"path": moved}
        known = {k: v for k, v in raw.items() if k in SourceSettings.model_fields}
        if moved is not None and all(map(is_store, [moved] if isinstance(moved, str) else moved)):
            known = {k: v for k, v in known.items() if k not in OF_FILES}  # the run's files were read so, no store is
        return SourceSettings.model_validate(known), split, window
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder}: a calibration needs a folder that `chandler finetune` wrote, with its config.yaml ({error!r:.200})."
        ) from error
