"""Questions that only measurement settles, asked of a small model on the bundled stocks (which chandler-nano never saw).

    python benchmarks/questions.py sampling [MODEL]    positions, temperature and top_p, number of paths
    python benchmarks/questions.py finetuning [MODEL]  s1 in training, tokenizer stage, learning rate; three seeds each

Differences are paired, origin by origin; their standard errors treat each origin date as one draw, since the five
stocks of a day move together. The answers stand in docs/log.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chandler import Bars, BarStore, Forecaster, finetune, load_bars
from chandler.data.reading.discovery import STOCKS
from chandler.measures import band, crps
from chandler.nn.predictor import DependencyPositions

HORIZON, PATHS, LOOKBACK = 20, 100, 128
TEST = np.datetime64("2011-01-01").astype("datetime64[ns]").astype(np.int64)
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Score:
    """One setting, origin by origin, (N,) each."""

    crps: np.ndarray
    """Of the close, in one-bar volatilities of the history."""
    inside: np.ndarray
    """Share of the horizon inside the central 90% band."""
    width: np.ndarray
    """Mean width of that band, in one-bar volatilities."""
    origin: np.ndarray
    """Date of the last bar of the history, ns."""


def stocks() -> BarStore:
    """The five bundled stocks."""
    return load_bars(STOCKS)


def score(forecaster: Forecaster, store: BarStore, paths: int = PATHS, **sampling: Any) -> Score:
    """Forecasts from every HORIZON-th bar of the test years of each symbol."""
    cases = [
        (bars.slice(at - LOOKBACK, at), bars.values[at : at + HORIZON, 3], bars.timestamps[at : at + HORIZON])
        for bars in store
        for at in range(_first(bars), len(bars) - HORIZON + 1, HORIZON)
    ]
    histories, truths, times = zip(*cases, strict=True)
    sampling = {"top_p": 1.0, "lookback": LOOKBACK} | sampling
    made = forecaster.forecast_many(histories, HORIZON, paths, timestamps=times, overflow="trim", **sampling)
    scores, inside, width = [], [], []
    for history, truth, forecast in zip(histories, truths, made, strict=True):
        closes = history.values[:, 3]
        unit = np.diff(np.log(closes)).std() * closes[-1]
        low, high = band(forecast.paths[:, :, 3], 0.9)
        scores.append(crps(forecast.paths[:, :, 3], truth) / unit)
        inside.append(((truth >= low) & (truth <= high)).mean())
        width.append((high - low).mean() / unit)
    origins = np.array([history.timestamps[-1].value for history in histories])
    return Score(np.array(scores), np.array(inside), np.array(width), origins)


def _first(bars: Bars) -> int:
    """The first bar of the test years that has a whole history before it."""
    return max(LOOKBACK, int(np.searchsorted(bars.timestamps.asi8, TEST)))


def by_date(values: np.ndarray, origins: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of values (N,), one draw per origin date."""
    days = np.array([values[origins == day].mean() for day in np.unique(origins)])
    return float(days.mean()), float(days.std(ddof=1) / np.sqrt(len(days)))


def line(name: str, found: Score, base: Score) -> str:
    """CRPS, its difference to the base with an error, coverage and width of the 90% band."""
    gain, error = by_date(100 * (found.crps - base.crps) / base.crps.mean(), base.origin)
    covered, scatter = by_date(100 * found.inside, found.origin)
    wide = found.width.mean()
    return f"| {name} | {found.crps.mean():.4f} | {gain:+.2f}% +- {error:.2f} | {covered:.1f}% +- {scatter:.1f} | {wide:.2f} |"


HEAD = "| setting | CRPS | against the first | 90% band covers | its width |\n|---|---|---|---|---|"


def sampling(model: str) -> None:
    """Questions about a finished model."""
    store, forecaster = stocks(), Forecaster.from_pretrained(model, device="cpu")
    print(f"{model}: lookback {LOOKBACK}, {HORIZON} bars, {PATHS} paths, temperature 1 and top_p 1 unless said")
    print(f"\nTemperature and top_p\n\n{HEAD}")
    base = score(forecaster, store)
    print(line("1.0, 1.0", base, base), flush=True)
    for temperature, top_p in ((1.1, 1.0), (1.2, 1.0), (1.3, 1.0), (0.8, 1.0), (0.6, 1.0), (1.0, 0.95), (1.0, 0.9),
                               (0.6, 0.9), (1.2, 0.9)):  # fmt: skip
        found = score(forecaster, store, temperature=temperature, top_p=top_p)
        print(line(f"{temperature}, {top_p}", found, base), flush=True)
    print(f"\nDependency positions\n\n{HEAD}")
    print(line("as trained", base, base))
    other: DependencyPositions = "rotary" if forecaster.positions == "reference" else "reference"
    found = score(Forecaster.from_pretrained(model, device="cpu", positions=other), store)
    print(line(other, found, base), flush=True)
    print("\nNumber of paths: error of the median of the close at the last bar, and width of the 90% band\n")
    wide = score_paths(forecaster, store, 400)
    for count in (1, 5, 10, 30, 100, 400):
        errors, widths = wide(count)
        print(f"- {count}: {errors:.4f}" + (f", {widths:.3f}" if count > 1 else ""))


def score_paths(forecaster: Forecaster, store: BarStore, most: int) -> Any:
    """A function of a number of paths: mean absolute error of the median and mean width, in one-bar volatilities."""
    cases = []
    for bars in store:
        for at in range(_first(bars), len(bars) - HORIZON + 1, 2 * HORIZON):
            cases.append((bars.slice(at - LOOKBACK, at), bars.values[at + HORIZON - 1, 3]))
    made = forecaster.forecast_many([h for h, _ in cases], HORIZON, most, top_p=1.0, lookback=LOOKBACK, overflow="trim")
    units = np.array([np.diff(np.log(h.values[:, 3])).std() * h.values[-1, 3] for h, _ in cases])
    ends = np.stack([one.paths[:, -1, 3] for one in made])
    truths = np.array([truth for _, truth in cases])

    def at(count: int) -> tuple[float, float]:
        """Over disjoint groups of `count` paths."""
        groups = ends[:, : most // count * count].reshape(len(ends), -1, count)
        error = np.abs(np.median(groups, axis=2) - truths[:, None]) / units[:, None]
        low, high = np.quantile(groups, [0.05, 0.95], axis=2)
        return float(error.mean()), float(((high - low) / units[:, None]).mean())

    return at


def trainings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings of what is compared; the first is the base."""
    yield "s1 sampled, tokenizer kept, lr 1e-4", {}
    yield "s1 true", {"predictor": {"condition": "true"}}
    yield "tokenizer stage on", {"tokenizer": {"enabled": True}}
    for rate in (1e-6, 1e-5, 1e-3):
        yield f"lr {rate:g}", {"predictor": {"learning_rate": rate}}


def finetuning(model: str) -> None:
    """Questions about finetuning on little data: five symbols, eight years of days."""
    store = stocks()
    untouched = score(Forecaster.from_pretrained(model, device="cpu"), store)
    print(f"{model}, finetuned on five stocks up to 2009, validated on 2010; mean over seeds {SEEDS}\n\n{HEAD}")
    print(line("untouched", untouched, untouched), flush=True)
    for name, changes in trainings():
        found = [_finetuned(model, seed, changes, store) for seed in SEEDS]
        mean = replace(
            found[0],
            crps=np.mean([one.crps for one in found], axis=0),
            inside=np.mean([one.inside for one in found], axis=0),
            width=np.mean([one.width for one in found], axis=0),
        )
        spread = np.std([one.crps.mean() for one in found], ddof=1)
        print(f"{line(name, mean, untouched)} seeds scatter {spread:.4f}", flush=True)


def _finetuned(model: str, seed: int, changes: dict[str, Any], store: BarStore) -> Score:
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {
            "out": str(Path(folder) / "run"),
            "seed": seed,
            "data": {
                "path": STOCKS, "lookback": LOOKBACK, "horizon": 40, "validation_stride": 20, "windows_per_epoch": 1000,
                "split": {"train_end": "2009-12-31", "val_end": "2010-12-31"},
            },
            "tokenizer": {"start": model, "enabled": False, "epochs": 2, "batch_size": 25},
            "predictor": {"start": model, "epochs": 2, "batch_size": 25, "learning_rate": 1e-4, "loss": "horizon"},
        }  # fmt: skip
        for stage, values in changes.items():
            settings[stage] |= values
        run = finetune(settings)
        return score(Forecaster.from_pretrained(run.folder, device="cpu"), store)


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"sampling": sampling, "finetuning": finetuning}[sys.argv[1]](*(sys.argv[2:] or ["chandler-nano"]))
