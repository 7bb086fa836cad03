"""Fits a run's calibration on its own validation period: how far its bands must be stretched to cover what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from chandler.data.source import SourceSettings, load_clean
from chandler.data.splits import SplitSettings, split_ranges
from chandler.errors import ConfigError, DataError
from chandler.evaluation.contenders import window_seed
from chandler.evaluation.origins import Origins, find_origins
from chandler.evaluation.progress import Walking
from chandler.forecasting.calibration import Calibration
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.measures import CLOSE, LOW, PRICE_FLOOR
from chandler.forecasting.sampling import Sampling

Array = NDArray[np.float64]
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
LEAST = 30
"""Windows below which a factor would be a guess."""
_CHUNK = 64


def fit(
    logs: Sequence[Array], truths: Sequence[Array], levels: Sequence[float] = LEVELS
) -> tuple[tuple[float, ...], Array]:
    """Factors that would have made the bands of these forecasts cover.

    Split conformal prediction with scores in units of the band itself: with m the median and [l, u] the band of a
    level at a step, s = max((y - m) / (u - m), (m - y) / (m - l)), and the factor is the ceil((n + 1) level)-th smallest
    of the n scores. For exchangeable windows the stretched band then covers at least the level, whatever the model.
    Windows of one time are not exchangeable with those of another: see docs/evaluation.md.
    Source: Romano, Patterson & Candes (2019), "Conformalized quantile regression", NeurIPS, with the scaled score of
    Kivaranovic, Johnson & Leeb (2020), "Adaptive, distribution-free prediction intervals for deep networks", AISTATS.

    Args:
        logs: n arrays (P, H), log returns of paths against the last close.
        truths: n arrays (H,), those that came true.
        levels: central shares, increasing.

    Returns:
        The levels that n windows can tell about (n >= level / (1 - level)), K of them, and factors (K, H).

    Raises:
        DataError: fewer than 30 windows.
    """
    if len(logs) < LEAST:
        raise DataError(
            f"a calibration needs at least {LEAST} windows in the validation period, found {len(logs)}. Lower --stride, or "
            "train with a longer validation period."
        )
    count = len(logs)
    known = tuple(level for level in levels if np.ceil((count + 1) * level) <= count)
    half = np.asarray(known) / 2
    paths, came = np.stack(logs), np.stack(truths)
    low, high = (np.quantile(paths, 0.5 + sign * half, axis=1) for sign in (-1, 1))  # (K, n, H)
    median = np.median(paths, axis=1)
    # A band of width 0 scores a hit as 0 and a miss as a very large number.
    tiny = 1e-12
    up = (came - median) / np.maximum(high - median, tiny)
    down = (median - came) / np.maximum(median - low, tiny)
    scores = np.sort(np.maximum(up, down), axis=1)
    places = np.ceil((count + 1) * np.asarray(known)).astype(int) - 1
    return known, np.stack([scores[k, place] for k, place in enumerate(places)])


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
    seed: int = 0,
    data: str | None = None,
    device: str = "auto",
    progress: Walking | None = None,
) -> Calibration:
    """Forecast a run's validation period, fit, and write calibration.json beside its summary.json.

    Args:
        run: a run folder, finished.
        horizon: bars ahead; None: that of its training windows.
        stride: bars between two origins; None: the horizon.
        limit: at most so many origins a symbol, evenly spaced.
        paths, temperature, top_p, top_k, seed: of the forecasts. Calibrated forecasts are sampled in the same way.
        data: where the run's bars lie now, if they were moved.

    Raises:
        ConfigError: no run folder, or bars that are not there any more.
        DataError: too few windows in the validation period.
    """
    shown = progress or Walking()
    folder = Path(run).expanduser()
    source, split, lookback, trained_horizon = _data_of(folder, data)
    forecaster = Forecaster.from_pretrained(folder, device=device)
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    steps = horizon or trained_horizon
    store, _ = load_clean(source)
    origins = find_origins(
        store, lookback, steps, stride=stride or steps, limit=limit, ranges=split_ranges(store, split)["val"]
    )
    logs: list[Array] = []
    truths: list[Array] = []
    with shown.walking(f"Calibrating {folder.name}", len(origins), 0) as report:
        for lo in range(0, len(origins), _CHUNK):
            windows = range(lo, min(lo + _CHUNK, len(origins)))
            pairs = [origins.bars(window) for window in windows]
            forecasts = forecaster.forecast_many(
                [history for history, _ in pairs],
                steps,
                paths,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
                seed=[_seed(seed, origins, window) for window in windows],
                timestamps=[truth.timestamps for _, truth in pairs],
                lookback=lookback,
                progress=False,
            )
            for (history, truth), made in zip(pairs, forecasts, strict=True):
                last = float(history.values[-1, CLOSE])
                floor = PRICE_FLOOR * float(history.values[:, LOW].min())
                logs.append(np.log(np.maximum(made.paths[:, :, CLOSE], floor) / last))
                truths.append(np.log(truth.values[:, CLOSE] / last))
            report(len(windows))
    levels, factors = fit(logs, truths)
    targets = origins.targets()
    ends = np.asarray(store.timestamps)[origins.rows + steps]
    found = Calibration(
        levels=levels,
        factors=factors,
        temperature=float(sampling.temperature),
        top_p=float(sampling.top_p or 1.0),
        top_k=int(sampling.top_k or 0),
        lookback=lookback,
        windows=len(origins),
        first=str(pd.Timestamp(int(targets.min()))),
        last=str(pd.Timestamp(int(ends.max()))),
    )
    found.save(folder)
    return found


def _seed(seed: int, origins: Origins, window: int) -> int:
    return window_seed(seed, origins.symbol(window), int(origins.store.timestamps[origins.rows[window]]))


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
