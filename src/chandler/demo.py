"""The whole way on bundled bars: train both stages, forecast sessions the model has never seen, report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from chandler.data.bars import Bars
from chandler.data.store import BarStore
from chandler.evaluation.report import write_report
from chandler.evaluation.scoring import LAST_CLOSE, MODEL, RANDOM_WALK, ForecastCase, pivot, score_cases
from chandler.evaluation.verdicts import forecast_verdicts
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.output import write_table
from chandler.training.config import Settings, load_settings
from chandler.training.progress import Progress, duration
from chandler.training.run import Run, finetune
from chandler.training.sources import load_store

HELD_OUT = 10
"""Last sessions of each symbol, which neither training nor the choice of checkpoints sees."""
PATHS = 100


def demo_settings(out: str | Path, overrides: Iterable[str] = ()) -> Settings:
    """The shipped settings, on the bundled bars."""
    assets = resources.files("chandler") / "assets"
    with (
        resources.as_file(assets / "demo.yaml") as config,
        resources.as_file(assets / "bokeh_stocks_1d.csv.gz") as bars,
    ):
        return load_settings(config, [f"data.path={bars}", *overrides], out=str(out))


def run_demo(out: str | Path = "runs/demo", *, overrides: Iterable[str] = (), progress: Progress | None = None) -> Run:
    """Train, forecast the held-out sessions, print scores, write the report; replaces an earlier demo in `out`.

    Returns the run, whose folder also holds forecasts.parquet (all paths) and report.html.
    """
    begun = time.monotonic()
    shown = progress or Progress()
    settings = demo_settings(out, overrides)
    run = finetune(settings, overwrite=True, progress=shown)
    cases = held_out_cases(Forecaster.from_pretrained(run.folder, device=settings.device), load_store(settings))
    write_table([case.forecast for case in cases], run.folder / "forecasts.parquet")
    scores = score_cases(cases)
    shown.note(
        f"\nError of the close, {HELD_OUT} sessions ahead, in percent of the last close (CRPS; lower is better):"
    )
    shown.note(pivot(scores, "crps")[[MODEL, LAST_CLOSE, RANDOM_WALK]].round(2).to_string())
    for line in forecast_verdicts(scores, cases):
        shown.note(line)
    notes = [
        f"The forecasts are dated with the {HELD_OUT} sessions that really followed, not with a calendar's guess.",
        "The model was trained for minutes, from random weights, on five stocks: it shows that everything works.",
    ]
    report = write_report(run.folder, cases, notes=notes)
    shown.note(f"\nReport: {report} ({duration(time.monotonic() - begun)} in all)")
    return run


def held_out_cases(forecaster: Forecaster, store: BarStore) -> list[ForecastCase]:
    """A forecast of the last sessions of each symbol from the bars before them, beside what came true."""
    cases = []
    for bars in store:
        past, truth = _cut(bars)
        forecast = forecaster.forecast(
            past, horizon=HELD_OUT, paths=PATHS, seed=0, top_p=1.0, timestamps=truth.timestamps
        )
        cases.append(ForecastCase(forecast, truth.to_frame()))
    return cases


def _cut(bars: Bars) -> tuple[Bars, Bars]:
    cut = len(bars) - HELD_OUT
    return bars.slice(0, cut), bars.slice(cut, len(bars))
