"""A backtest from settings to a folder: signals, the simulated portfolio, what it is held against, and how much is luck.

A second call with the same settings makes no forecast twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandler.atomic import write_text
from chandler.data import load_clean, note_lines, tick_of
from chandler.data.inspection import findings
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.backtest import performance
from chandler.evaluation.backtest.heads import after_fit, fitted_notes, head_signals
from chandler.evaluation.backtest.panel import Array, Panel
from chandler.evaluation.backtest.portfolio import Curve, simulate
from chandler.evaluation.backtest.settings import BacktestSettings
from chandler.evaluation.backtest.signals import MADE_OF, forecast_signals, read_signals, score_matrix, signal_bars
from chandler.evaluation.walk_forward import (
    REFUSED,
    check_contamination,
    exposure,
    first_clean_origin,
    inputs,
    mark_notes,
    not_on_record,
    open_model,
    window_for,
    write_table,
)
from chandler.forecasting import SignalHead
from chandler.measures import block_bootstrap
from chandler.places import Layout, require_apart
from chandler.progress import Progress
from chandler.settings import load
from chandler.version import __version__

SIGNALS, CURVES, TRADES, RANDOM, SUMMARY, CONFIG, PARTS = (
    "signals.parquet", "curve.parquet", "trades.parquet", "random.parquet", "summary.json", "config.yaml", "parts",
)  # fmt: skip
BACKTEST = Layout(
    "a backtest",
    (SIGNALS, CURVES, TRADES, RANDOM, SUMMARY, CONFIG, "report.html", f"{PARTS}/{MADE_OF}", f"{PARTS}/[0-9]*.parquet"),
    {SUMMARY: "formulas", CONFIG: "portfolio", f"{PARTS}/{MADE_OF}": "bars"},
)
"""What the folder of a backtest holds; overwriting removes these and nothing else."""
OTHER = "something else than a backtest"
FAN = (0.05, 0.5, 0.95)
"""Quantiles of the random portfolios' values that are kept."""


def load_backtest(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), final: Mapping[str, Any] | None = None
) -> BacktestSettings:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate; `final` stands above all.

    Raises:
        ConfigError: as `settings.load`.
    """
    return load(BacktestSettings, source, overrides, final)


def backtest(
    settings: BacktestSettings,
    *,
    force: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run the backtest, or go on with its forecasts.

    Args:
        force: trade bars that the model has seen, and say so.
        overwrite: remove an earlier backtest from the folder first.
        progress: what shows it; default: a bar on a terminal, lines elsewhere.

    Returns:
        The folder: signals.parquet, curve.parquet (a row per signal and bar), trades.parquet, random.parquet,
        summary.json, config.yaml. `chandler.reports.write_report` makes its page.

    Raises:
        DataError: bars or signals that cannot be used, or bars that the model knows (without `force`).
        ConfigError: other settings than those of the forecasts in the folder (without `overwrite`).
        CheckpointError: a model that cannot be loaded.
    """
    shown, folder, settings = progress or Progress(), Path(settings.out), settings.as_trained()
    BACKTEST.require_free(folder, OTHER)
    store, _ = load_clean(settings.data)
    models = [settings.model] if settings.model is not None else []
    signals = {} if settings.signals is None else {"signals": [Path(settings.signals)]}
    heads = {} if settings.head is None else {"head": [Path(settings.head)]}
    require_apart(folder, inputs(settings.data, models) | signals | heads)
    found = findings(store, cleaned=settings.data.cleaning.enabled)
    for line in note_lines(found, store.skipped):
        shown.note(line)
    panel = _until(Panel.from_store(store), settings.end)
    k, n_drop = settings.portfolio.sized(len(panel.symbols) - (settings.benchmark in panel.symbols))
    performance.benchmark_returns(panel, settings.benchmark)  # one that there is not is said before the hours
    made, about = _signals(settings, store, panel, folder, force, overwrite, shown)
    scores, notes = score_matrix(made, panel, allow_left_out=settings.allow_left_out)
    scores, said = performance.beside_benchmark(panel, settings.benchmark, scores)
    for note in (*notes, *said):
        shown.note(note)
    notes = [*about.pop("notes", []), *notes, *said]
    panel = panel.until(_last_bar(scores) + 1)
    scores = scores[: len(panel)]
    members = performance.universe(scores)
    benchmark = performance.benchmark_returns(panel, settings.benchmark, members)
    per_year = settings.bars_per_year or panel.bars_per_year()
    curves = {
        name: simulate(panel, table, settings.portfolio, benchmark)
        for name, table in _contenders(settings, panel, scores).items()
    }
    results = {name: _numbers(curve, per_year, settings.seed) for name, curve in curves.items()}
    name = next(iter(curves))
    random = _random(settings, panel, scores, benchmark, per_year, shown)
    if settings.model is None:
        _open(folder, overwrite)  # only now is it known to be possible
    write_table(folder / SIGNALS, made)
    write_text(folder / CONFIG, settings.to_yaml())
    _write(folder, curves, random)
    settled = sorted(set(curves[name].trades.query("side == 'settle'")["symbol"]))
    if settled:
        shown_names = ", ".join(settled[:8]) + (" and others" if len(settled) > 8 else "")
        notes.append(
            f"{len(settled)} held symbols ceased to trade ({shown_names}) and were taken out at their last close "
            f"{settings.portfolio.settle} bars later; what their holders really got is not in the data."
        )
    signalled = np.flatnonzero(np.isfinite(scores).any(axis=1))
    summary = {
        "chandler": __version__,
        "task": settings.task,
        "signal": name,
        "source": settings.model or settings.signals,
        **about,
        "symbols": len(panel.symbols),
        "interval": str(panel.interval()),
        "first_signal": str(panel.times[signalled[0]]),
        "last_signal": str(panel.times[signalled[-1]]),
        "last_bar": str(panel.times[-1]),
        "signal_bars": len(signalled),
        "scores": int(np.isfinite(scores).sum()),
        "k": k,
        "n_drop": n_drop,
        "benchmark": settings.benchmark,
        "bars_per_year": per_year,
        "persistence": performance.persistence(scores),
        "results": results,
        "random": {"draws": len(random[1]), "annual_excess": random[1]},
        "notes": notes,
        "reading": [one.to_dict(panel.period(signalled[0])) for one in found],
        "formulas": performance.FORMULAS,
    }
    if random[1]:
        summary["luck"] = performance.permutation_test(results[name]["annual_excess"], random[1])
    write_text(folder / SUMMARY, json.dumps(_plain(summary), indent=1, ensure_ascii=False))
    return folder


def _signals(
    settings: BacktestSettings,
    store: BarStore,
    panel: Panel,
    folder: Path,
    force: bool,
    overwrite: bool,
    shown: Progress,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The signals and what is to be said of them; forecasts are kept in the folder, which is opened for them."""
    if settings.signals is not None:
        return read_signals(settings.signals), {"kind": "file"}
    assert settings.model is not None
    head = None if settings.head is None else SignalHead.load(settings.head)
    auto = window_for(panel.interval(), settings.task) if head is None else (head.lookback, head.horizon)
    lookback, horizon = settings.lookback or auto[0], settings.horizon or auto[1]
    exposures = {settings.model: exposure(settings.model)}
    start = settings.start or (None if force else first_clean_origin(store, exposures))
    if head is not None and not force:
        start = after_fit(head, store, start, given=settings.start is not None)
    bars = signal_bars(store, panel, lookback, settings.every, start)
    marks = check_contamination(bars, exposures, force)[settings.model]
    forecaster = open_model(settings.model, settings.device)
    notes = mark_notes(marks, "signals")
    if head is not None:
        head.require(forecaster)
        _open(folder, overwrite)
        notes += fitted_notes(head, bars)
        seen = sorted(set(marks.tolist()).intersection(REFUSED))
        about = {"kind": "head", "head": settings.head, "lookback": lookback, "horizon": horizon, "seen": seen}
        return head_signals(forecaster, head, bars, shown), {**about, "notes": notes}
    if forecaster.max_context < lookback:
        notes.append(
            f"The model sees the last {forecaster.max_context} of the {lookback} bars: its context is smaller."
        )
    rounds = len(set(bars.rounds.tolist()))
    for text in not_on_record(exposures):
        shown.note(text)
    shown.note(f"{len(bars):,} forecasts of {lookback} + {horizon} bars on {rounds:,} bars of the calendar")
    _open(folder, overwrite)
    table = forecast_signals(forecaster, bars, settings, horizon, folder / PARTS, shown)
    seen = sorted(set(marks.tolist()).intersection(REFUSED))
    return table, {"kind": "model", "lookback": lookback, "horizon": horizon, "seen": seen, "notes": notes}


def _contenders(settings: BacktestSettings, panel: Panel, scores: Array) -> dict[str, Array]:
    """The scores to trade by name, the ones in question first."""
    found = {"signal head" if settings.head else "model" if settings.model else "signals": scores}
    for name, bars, sign in (("momentum", settings.momentum, 1), ("reversal", settings.reversal, -1)):
        if bars is not None:
            past = performance.momentum_scores(panel, scores, bars, sign)
            if np.isfinite(past[:-1]).any():
                found[f"{name} ({bars} bars)"] = past
    return found


def _random(
    settings: BacktestSettings, panel: Panel, scores: Array, benchmark: Array, per_year: float, shown: Progress
) -> tuple[pd.DataFrame, list[float]]:
    """The fan of the random portfolios' values, (bars, len(FAN)), and their annual excess returns."""
    rho = performance.persistence(scores)
    values, excess = [], []
    with shown.track("random signals", settings.random, 0, "portfolios") as report:
        for draw in range(settings.random):
            noise = performance.random_scores(scores, rho, settings.seed + draw)
            daily = simulate(panel, noise, settings.portfolio, benchmark).daily
            values.append(daily["value"].to_numpy())
            excess.append(performance.summarise(daily, per_year)["annual_excess"])
            report(1)
    if not values:
        return pd.DataFrame({"timestamp": panel.times[:0]}), []
    fan = np.quantile(np.stack(values), FAN, axis=0)
    quantiles = {f"q{100 * q:02.0f}": row for q, row in zip(FAN, fan, strict=True)}
    return pd.DataFrame({"timestamp": daily["timestamp"]} | quantiles), excess


def _numbers(curve: Curve, per_year: float, seed: int) -> dict[str, Any]:
    """`performance.summarise`, the interval of the excess return, and trades."""
    excess = curve.daily["excess"].to_numpy()[1:]
    interval = block_bootstrap(excess * per_year, seed=seed)
    sold = curve.trades[curve.trades["side"] != "buy"]
    return performance.summarise(curve.daily, per_year) | {
        "annual_excess_low": interval.low,
        "annual_excess_high": interval.high,
        "trades": len(curve.trades),
        "blocked": int(curve.daily["blocked"].sum()),
        "mean_held_bars": float(sold["held"].mean()) if len(sold) else float("nan"),
    }


def _plain(value: Any) -> Any:
    """As JSON knows it: null for NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _write(folder: Path, curves: Mapping[str, Curve], random: tuple[pd.DataFrame, list[float]]) -> None:
    for path, kind in ((CURVES, "daily"), (TRADES, "trades")):
        tables = [getattr(curve, kind).assign(signal=name) for name, curve in curves.items()]
        write_table(folder / path, pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True))
    write_table(folder / RANDOM, random[0])


def _until(panel: Panel, end: str | None) -> Panel:
    """The bars up to a day (whole) or time, in the clock of the panel."""
    zone = None if panel.times.tz is None else str(panel.times.tz)
    last = tick_of(end, zone, end=True)
    ticks = panel.times.as_unit("ns").asi8
    found = panel if last is None else panel.until(int(np.searchsorted(ticks, last, side="right")))
    if len(found) < 2:
        raise DataError(
            f"the data have {len(found)} bars up to {end or 'their end'}, from {panel.times[0]} on: too few to trade."
        )
    return found


def _last_bar(scores: Array) -> int:
    """The bar that a backtest ends with: as far after the last signal as signals are apart at most."""
    rows = np.flatnonzero(np.isfinite(scores).any(axis=1))
    if not len(rows):
        raise DataError("there is no signal of a symbol that can be traded.")
    apart = int(np.diff(rows).max()) if len(rows) > 1 else 1
    return min(int(rows[-1]) + apart, len(scores) - 1)


def _open(folder: Path, overwrite: bool) -> None:
    """Make the folder, without an earlier backtest if so asked; ConfigError where something else is in it."""
    BACKTEST.claim(folder, OTHER)
    if overwrite:
        BACKTEST.clear(folder)
