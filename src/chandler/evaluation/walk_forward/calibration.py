"""Fits a run's calibration on its own validation period: how far its bands must be stretched to cover what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from chandler.data import CLOSE, LOW, SourceSettings, load_clean, note_lines
from chandler.data.datasets import SplitSettings, split_ranges
from chandler.data.inspection import findings
from chandler.errors import ConfigError, DataError
from chandler.evaluation.walk_forward.forecasters import forecast_windows
from chandler.evaluation.walk_forward.origins import Ints, find_origins
from chandler.evaluation.walk_forward.part_store import chunks_of, in_chunks
from chandler.evaluation.walk_forward.settings import EvaluationSettings
from chandler.forecasting import PRICE_FLOOR, Calibration, Forecaster, ForecastSettings
from chandler.forecasting.engine import Sampling
from chandler.measures import ConformalBands
from chandler.progress import Progress

Array = NDArray[np.float64]
LEVELS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
"""Central bands that are fitted, as far as there are windows enough."""
LEAST = 30
"""Windows below which the fit would be a guess."""
_CHUNK = 64


def calibrate(
    run: str | Path,
    *,
    horizon: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    paths: int = 200,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    anchor: bool = True,
    seed: int = 0,
    data: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Calibration:
    """Forecast a run's validation period, fit, and write calibration.json beside its summary.json.

    Args:
        run: a run folder, finished.
        horizon: bars ahead; None: that of its training windows.
        stride: bars between two origins; None: the horizon.
        limit: at most so many origins a symbol, evenly spaced.
        paths, temperature, top_p, top_k, anchor, seed: of the forecasts. Calibrated forecasts are sampled in the same way.
        data: where the run's bars lie now, if they were moved.

    Raises:
        ConfigError: no run folder, or bars that are not there any more.
        DataError: too few windows in the validation period.
    """
    shown = progress or Progress()
    folder = Path(run).expanduser()
    source, split, lookback, trained_horizon = _data_of(folder, data)
    forecaster = Forecaster.from_pretrained(folder, device=device)
    how = ForecastSettings(paths, Sampling(temperature, top_k, top_p), lookback, anchor=anchor)
    steps = horizon or trained_horizon
    store, _ = load_clean(source)
    for line in note_lines(findings(store, cleaned=source.cleaning.enabled), store.skipped):
        shown.note(line)
    origins = find_origins(
        store, lookback, steps, stride=stride or steps, limit=limit, ranges=split_ranges(store, split)["val"]
    )
    if len(origins) < LEAST:
        raise DataError(
            f"a calibration needs at least {LEAST} windows in the validation period, found {len(origins)}. Lower the stride, "
            "or train with a longer validation period."
        )

    def closes_of(windows: Ints) -> list[Array]:
        floors = [PRICE_FLOOR * float(origins.bars(window)[0].values[:, LOW].min()) for window in windows]
        made = forecast_windows(forecaster, how, origins, windows, seed)
        return [np.maximum(one.paths[:, :, CLOSE], floor) for one, floor in zip(made, floors, strict=True)]

    track = shown.track(f"Calibrating {folder.name}", len(origins))
    closes = [one for found in in_chunks(chunks_of(len(origins), _CHUNK), closes_of, track) for one in found]
    truths = np.stack([origins.bars(window)[1].values[:, CLOSE] for window in range(len(origins))])
    levels = [level for level in LEVELS if len(origins) >= (1 + level) / (1 - level)]
    bands = ConformalBands.fit(closes, truths, levels)
    targets = origins.targets()
    ends = np.asarray(store.timestamps)[origins.rows + steps]
    found = Calibration(
        bands=bands,
        sampling=how.sampling,
        lookback=lookback,
        paths=how.paths,
        windows=len(origins),
        first=str(pd.Timestamp(int(targets.min()))),
        last=str(pd.Timestamp(int(ends.max()))),
        anchor=how.anchor,
    )
    found.save(folder)
    return found


def calibrate_missing(settings: EvaluationSettings, progress: Progress | None = None) -> list[str]:
    """Calibrate every run of an evaluation that has no calibration, with its sampling; the names of those that were.

    What is no run folder (a release, a pair) has no validation period and is passed over with a word.
    """
    shown, done = progress or Progress(), []
    how = settings.model_dump(include={"horizon", "paths", "temperature", "top_p", "top_k", "anchor", "seed", "device"})
    for name, source in settings.models.items():
        folder = Path(source).expanduser()
        if Calibration.load(folder) is not None:
            continue
        if not (folder / "config.yaml").is_file():
            shown.note(f"{name} is no run folder: it has no validation period to calibrate on.")
            continue
        calibrate(folder, **how, progress=shown)
        done.append(name)
    return done


def calibration_text(found: Calibration) -> str:
    """What a calibration does, in a sentence."""
    place = found.bands.levels.index(0.9) if 0.9 in found.bands.levels else len(found.bands.levels) - 1
    low, high = (float(side[place].mean()) for side in (found.bands.low, found.bands.high))
    words = " and ".join(
        f"{side} {'down' if (value > 0) == (side == 'lower') else 'up'} by {abs(value):.0%}"
        for side, value in (("lower", low), ("upper", high))
    )
    return (
        f"{found.windows:,} forecasts of {found.first[:10]} to {found.last[:10]}: the edges of the {found.bands.levels[place]:.0%} band "
        f"move, {words} of its width (mean over the steps)."
    )


def _data_of(folder: Path, moved: str | None) -> tuple[SourceSettings, SplitSettings, int, int]:
    """Source, split, lookback and horizon of a run, from its config.yaml."""
    path = folder / "config.yaml"
    try:
        raw = dict(yaml.safe_load(path.read_text(encoding="utf-8"))["data"])
        raw |= {} if moved is None else {"path": moved}
        source = SourceSettings.model_validate({k: v for k, v in raw.items() if k in SourceSettings.model_fields})
        split = SplitSettings.model_validate(raw["split"])
        return source, split, int(raw["lookback"]), int(raw["horizon"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"{folder}: a calibration needs a folder that `chandler finetune` wrote, with its config.yaml ({error!r:.200})."
        ) from error
