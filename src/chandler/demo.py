"""The whole way on bundled bars: train both stages, forecast sessions the model has never seen, report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from chandler.data.bars import FEATURES
from chandler.data.splits import split_ranges
from chandler.data.store import BarStore
from chandler.data.windows import Windows
from chandler.errors import ConfigError
from chandler.evaluation.report import write_report
from chandler.evaluation.scoring import LAST_CLOSE, MODEL, RANDOM_WALK, ForecastCase, pivot, score_cases
from chandler.evaluation.verdicts import Reference, forecast_verdicts
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.output import write_table
from chandler.forecasting.sampling import Sampling
from chandler.nn.tokenizer import KronosTokenizer
from chandler.training.config import Settings, load_settings
from chandler.training.progress import Progress, duration
from chandler.training.run import Run, finetune
from chandler.training.sources import load_sources, load_store

PATHS = 100
FORECASTS = "forecasts.parquet"
SAMPLING = Sampling(top_p=1.0)
"""A nucleus cuts the tails off, and the band would cover less than it says."""
_BLOCK = 256
"""Windows that are encoded at once."""


def demo_settings(out: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """The shipped settings, on the bundled bars."""
    assets = resources.files("chandler") / "assets"
    with (
        resources.as_file(assets / "demo.yaml") as config,
        resources.as_file(assets / "bokeh_stocks_1d.csv.gz") as bars,
    ):
        return load_settings(config, [f"data.path={bars}", *overrides], out=str(out))


def run_demo(
    out: str | Path = "runs/demo",
    *,
    overrides: Iterable[str] = (),
    paths: int = PATHS,
    progress: Progress | None = None,
) -> Run:
    """Train, forecast the held-out sessions, print scores, write the report; replaces an earlier demo in `out`.

    Args:
        out: the run folder, which then also holds forecasts.parquet (all paths) and report.html.
        overrides: `key.sub=value` texts over the shipped settings.
        paths: sampled futures per symbol.
        progress: what shows progress; default: bars on a terminal, lines elsewhere.
    """
    begun = time.monotonic()
    shown = progress or Progress()
    settings = demo_settings(out, overrides)
    run = finetune(settings, overwrite=True, progress=shown)
    forecaster = Forecaster.from_pretrained(run.folder, device=settings.device)
    cases = held_out_cases(forecaster, load_store(settings), settings, paths)
    write_table([case.forecast for case in cases], run.folder / FORECASTS)

    scores = score_cases(cases)
    steps = cases[0].forecast.horizon
    shown.note(f"\nCRPS of the close, {steps} unseen sessions ahead, in percent of the last close (lower is better):")
    table = pivot(scores, "crps")[[MODEL, LAST_CLOSE, RANDOM_WALK]]
    table.loc["mean"] = table.mean()
    shown.note(table.rename_axis(index=None, columns=None).to_string(float_format="{:.2f}".format))
    for about, text in forecast_verdicts(scores, cases):
        shown.note(f"{about}: {text}")

    report = _write(run, cases)
    shown.note(f"\nReport: {report} ({duration(time.monotonic() - begun)} in all)")
    return run


def report_again(folder: str | Path) -> Path:
    """Write a demo's report from what its folder holds, its forecasts included; nothing is trained or forecast.

    Raises:
        ConfigError: no demo there.
        DataError: its bars are gone.
    """
    run = Run(Path(folder))
    path = run.folder / FORECASTS
    if not path.is_file():
        raise ConfigError(f"{folder}: no demo ({FORECASTS} is missing). Run one with: chandler demo --out {folder}")
    settings = run.settings
    store = load_store(settings)
    cases = []
    for symbol, rows in pd.read_parquet(path).groupby("symbol", sort=False):
        bars = store[str(symbol)]
        times = pd.DatetimeIndex(rows["timestamp"].unique())
        begins = int(bars.timestamps.searchsorted(times[0]))
        forecast = Forecast(
            symbol=str(symbol),
            timestamps=times,
            paths=rows[list(FEATURES)].to_numpy(np.float64).reshape(-1, len(times), len(FEATURES)),
            history=bars.slice(0, begins).tail(min(settings.data.lookback, settings.context())),
            sampling=SAMPLING,
            seed=settings.seed,
            calendar="given",
            model=str(run.folder),
        )
        cases.append(ForecastCase(forecast, bars.slice(begins, begins + len(times)).to_frame()))
    return _write(run, cases)


def _write(run: Run, cases: list[ForecastCase]) -> Path:
    settings = run.settings
    sources = load_sources(settings)
    references = token_references(run.folder, sources.train.main, sources.validation)
    return write_report(run.folder, cases, notes=_notes(sources.train.main, settings), references=references)


def held_out_cases(forecaster: Forecaster, store: BarStore, settings: Settings, paths: int) -> list[ForecastCase]:
    """A forecast of each symbol's test part from the bars before it, beside what came true.

    Raises:
        ConfigError: the split has no test part.
    """
    ranges = split_ranges(store, settings.data.split)
    if "test" not in ranges:
        raise ConfigError("the demo forecasts the test part of the split: set data.split.val_end.")
    cases = []
    for bars, (lo, hi), offset in zip(store, ranges["test"], store.offsets[:-1], strict=True):
        past, truth = bars.slice(0, lo - offset), bars.slice(lo - offset, hi - offset)
        forecast = forecaster.forecast(
            past,
            horizon=len(truth),
            paths=paths,
            seed=settings.seed,
            top_p=SAMPLING.top_p,
            timestamps=truth.timestamps,
        )
        cases.append(ForecastCase(forecast, truth.to_frame()))
    return cases


def token_references(run_folder: Path, train: Windows, validation: Windows) -> dict[str, Reference]:
    """What the validation measures come to without a model: what a start from random weights should be held against.

    For the tokenizer, the error of always answering with the mean of the window. For the predictor, the negative
    log-likelihood per bar of the tokens under their frequencies in training, p(s1) p(s2 | s1), smoothed.
    """
    tokenizer = KronosTokenizer.from_pretrained(run_folder / "tokenizer").eval()
    seen = _tokens(tokenizer, train, np.arange(0, len(train), max(1, len(train) // 2000)))
    asked = _tokens(tokenizer, validation, np.arange(len(validation)))
    size1, size2 = 2**tokenizer.config.s1_bits, 2**tokenizer.config.s2_bits
    pairs = np.zeros((size1, size2))
    np.add.at(pairs, (seen[:, 0], seen[:, 1]), 1)
    p1 = (pairs.sum(1) + 0.5) / (pairs.sum() + 0.5 * size1)
    p2 = (pairs.sum(0) + 0.5) / (pairs.sum() + 0.5 * size2)
    # A coarse token that was rarely seen says little about the fine one: back off to what is seen overall.
    weight = 20.0
    s1, s2 = asked.T
    joint = p1[s1] * (pairs[s1, s2] + weight * p2[s2]) / (pairs.sum(1)[s1] + weight)
    values = validation.gather(np.arange(len(validation))).values
    return {
        "tokenizer": ("The mean of each window", float(np.square(values).mean())),
        "predictor": ("Token frequencies alone", float(-np.log(joint).mean())),
    }


@torch.no_grad()
def _tokens(tokenizer: KronosTokenizer, windows: Windows, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tokens (N, 2) of all bars that a predictor is asked for: every bar of a window but the first."""
    found = []
    for lo in range(0, len(indices), _BLOCK):
        values = torch.from_numpy(windows.gather(indices[lo : lo + _BLOCK]).values)
        found.append(torch.stack(tokenizer.encode(values), dim=-1)[:, 1:].reshape(-1, 2).numpy())
    return np.concatenate(found)


def _notes(train: Windows, settings: Settings) -> list[str]:
    late = [symbol for symbol, count in zip(train.store.symbols, train.counts, strict=True) if not count]
    notes = [
        "Five large US companies that are well known today were chosen with hindsight. Others may behave differently.",
        "The model is small, was trained for minutes, and saw nothing but these stocks: it shows that everything works, "
        "not what a pretrained Kronos can do.",
        "Prices are adjusted for splits and dividends, so they differ from those that were paid.",
    ]
    if late:
        notes.append(
            f"{', '.join(late)}: too few bars before {settings.data.split.train_end}, so it was never trained on."
        )
    return notes
