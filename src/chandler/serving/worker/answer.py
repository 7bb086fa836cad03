"""What a forecast says, in numbers that a page draws: bands, means, chances, the truth where it is known, and what the model has seen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.atomic import atomic_file, write_text
from chandler.data import CLOSE, FEATURES, BarStore
from chandler.forecasting import Calibration, Forecast, Forecaster, forecasts_to_frame, spacing
from chandler.measures import band_levels, crps
from chandler.progress import Report
from chandler.serving.sources import chart_seconds
from chandler.serving.worker.exposed import exposed
from chandler.serving.worker.protocol import LEVELS
from chandler.serving.worker.series import Asked, Prepared

BANDS = (0.5, 0.8, 0.9)


def answer(
    forecaster: Forecaster, model: str, series: list[Prepared], asked: Asked, paths: int, report: Report
) -> tuple[list[dict[str, Any]], list[Forecast]]:
    """Forecast series, and what is to be said of each.

    Args:
        model: what the forecaster was made of, for what it has seen.
        paths: of each series.
        report: called as the work goes on; what it raises stops the work.
    """
    found: dict[int, Forecast] = {}
    # Series with given times and without are two kinds of calls.
    for given in (True, False):
        chosen = [number for number, one in enumerate(series) if (one.timestamps is not None) == given]
        if chosen:
            made = forecaster.forecast_many(
                [series[number].history for number in chosen], asked.horizon, paths, seed=asked.seed,
                timestamps=[series[number].timestamps for number in chosen] if given else None,
                calibrated=asked.calibrated, calendar=asked.calendar, progress=report, **asked.settings,
            )  # fmt: skip
            found |= dict(zip(chosen, made, strict=True))
    ordered = [found[number] for number in range(len(series))]
    raw = {}
    if asked.calibrated and len(series) == 1 and forecaster.calibration is not None:
        fitted = {
            **asked.settings,
            "lookback": forecaster.calibration.lookback,
            **asdict(forecaster.calibration.sampling),
        }
        [plain] = forecaster.forecast_many(
            [series[0].history], asked.horizon, paths, seed=asked.seed, timestamps=[series[0].timestamps],
            calendar=asked.calendar, progress=report, **fitted,
        )  # fmt: skip
        raw = {0: plain.interval(0.8)}
    marks = exposed(model, series, forecaster.calibration if asked.calibrated else None)
    told = [
        {
            **_said(forecast, one),
            "exposure": marks[number],
            "raw80": None if number not in raw else _outline(raw[number]),
        }
        for number, (forecast, one) in enumerate(zip(ordered, series, strict=True))
    ]
    return told, ordered


def calibration_told(used: Calibration, forecasts: list[Forecast]) -> str:
    """What a reader is told of the calibration of these forecasts."""
    if not forecasts:
        return used.says()
    histories = {one.symbol: one.history for one in forecasts}.values()
    last = max(one.timestamps[-1].as_unit("ns").value for one in histories)
    return used.told(last, spacing(BarStore.from_bars(list(histories))))


def _said(forecast: Forecast, one: Prepared) -> dict[str, Any]:
    """One series as the API has it."""
    close, last = forecast.paths[:, :, CLOSE], float(one.history.values[-1, CLOSE])
    total = close[:, -1] / last - 1
    squares = np.diff(np.log(np.maximum(close, 1e-12)), axis=1, prepend=np.log(max(last, 1e-12))) ** 2
    told: dict[str, Any] = {
        "symbol": forecast.symbol,
        "origin_time": int(chart_seconds(one.history.timestamps[-1:], one.step)[0]),
        "last_close": last,
        "zone": None if forecast.timestamps.tz is None else str(forecast.timestamps.tz),
        "step_seconds": one.step,
        "time": chart_seconds(forecast.timestamps, one.step).tolist(),
        "dated_by": _dated_by(forecast, one),
        "notes": list(forecast.calendar_notes),
        "paths": len(forecast.paths),
        "levels": list(LEVELS),
        "quantiles": np.quantile(close, LEVELS, axis=0).tolist(),
        "mean": {name: forecast.paths[:, :, n].mean(axis=0).tolist() for n, name in enumerate(FEATURES)},
        "p_up": (close > last).mean(axis=0).tolist(),
        "volatility": float(np.sqrt(squares.sum(axis=1)).mean()),
        "mean_return": float(total.mean()),
        "median_return": float(np.median(total)),
        "truth": None,
        "scores": None,
    }
    if one.truth is not None:
        told["truth"] = {
            "time": chart_seconds(one.truth.timestamps, one.step).tolist(),
            **{name: one.truth.values[:, n].tolist() for n, name in enumerate(FEATURES[:5])},
        }
        told["scores"] = scores(close, one.truth.values[:, CLOSE])
    return told


def scores(close: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    """What the truth says of a forecast, over the steps whose bars have come.

    Args:
        close: (P, H) paths.
        truth: (K,) closes, K <= H.

    Returns:
        crps (mean over the steps; `measures.crps`), crps_by_step, error (mean of |mean of the paths - truth|), inside: band -> share
        of the steps with the truth in it, rank: share of the paths below the truth at the last of the steps.
    """
    steps = len(truth)
    seen = close[:, :steps]
    by_step = crps(seen, truth)
    inside = {}
    for level in BANDS:
        low, high = np.quantile(seen, band_levels(level), axis=0)
        inside[f"{level * 100:g}"] = float(((truth >= low) & (truth <= high)).mean())
    return {
        "steps": steps,
        "crps": float(by_step.mean()),
        "crps_by_step": by_step.tolist(),
        "error": float(np.abs(seen.mean(axis=0) - truth).mean()),
        "inside": inside,
        "rank": float((seen[:, -1] < truth[-1]).mean()),
    }


def _dated_by(forecast: Forecast, one: Prepared) -> str:
    if one.truth is None:
        return forecast.dated_by
    left = forecast.horizon - len(one.truth)
    return "the true bars" if not left else f"the true bars, the last {left} by the calendar"


def _outline(band: pd.DataFrame) -> dict[str, Any]:
    return {"lower": band["lower"].tolist(), "upper": band["upper"].tolist()}


@dataclass(frozen=True, eq=False)
class Part:
    """What was made of some series."""

    told: list[dict[str, Any]]
    """In order; of one that could not be forecast its symbol, and why: failed."""
    forecasts: list[Forecast]
    """Of all others, in order."""

    def __add__(self, other: Part) -> Part:
        """One after another."""
        return Part(self.told + other.told, self.forecasts + other.forecasts)


def write_part(folder: Path, number: int, part: Part, seconds: float) -> None:
    """Write what was said of some series, and every path of them, before anyone hears of it."""
    if part.forecasts:
        with atomic_file(folder / f"paths-{number:06d}.parquet") as scratch:
            forecasts_to_frame(part.forecasts).to_parquet(scratch, compression="zstd")
    told = json.dumps(
        {"series": part.told, "seconds": seconds}, ensure_ascii=False, allow_nan=False
    )  # no browser reads NaN
    write_text(folder / f"series-{number:06d}.json", told)
