"""The page of an evaluation, from its files alone: the verdict first, losses as plainly as wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandler.evaluation.tasks.measures import TaskTable, task_table
from chandler.evaluation.walk_forward.forecasters import CALIBRATED
from chandler.evaluation.walk_forward.results import QUESTIONS, Results
from chandler.evaluation.walk_forward.runner import EXAMPLES
from chandler.measures.adaptive_conformal import adaptive_bands
from chandler.measures.significance import Comparison, Estimate
from chandler.reports import evaluation_summary as summary
from chandler.reports import score_charts
from chandler.reports.evaluation_summary import cell, display_name, number
from chandler.reports.render import Cell, Chart, Pairs, Row, Table, day, write, written_with
from chandler.training.runs.history import flat

EXAMPLE_CHARTS = 6
DRIFTLESS = ("last_close", "bootstrap", "gaussian_walk", "ewma", "garch")
"""Baselines that expect no move: what direction their paths' mean has is chance."""
MANY_SYMBOLS = 40
"""Beyond so many the table of symbols shows both ends only."""
CHART_SYMBOLS = 12
"""Beyond so many there is a chart of them besides."""


@dataclass(frozen=True)
class Question:
    """What a model may be better at than naive, and the comparisons that answer it."""

    title: str
    unit: str
    table: Table


@dataclass(frozen=True)
class Calibration:
    """What the bands covered. `calibrated`: a stored calibration was applied."""

    calibrated: bool
    table: Table
    reliability: Chart
    pit: Sequence[tuple[str, Chart]]
    """Of each contender that spreads, by its name."""


@dataclass(frozen=True)
class Symbols:
    """CRPS against naive by symbol. `won`: per model, for how many of how many it is lower."""

    won: Sequence[tuple[str, int, int]]
    chart: Chart | None
    table: Table
    ranked: int
    """How many there are, where the table shows the ten best and the ten worst of the first model; else 0."""
    first: str


@dataclass(frozen=True)
class Example:
    """One window's forecast; `origin` is the bar it was made after."""

    origin: str
    chart: Chart


@dataclass(frozen=True)
class EvaluationPage:
    """What the page says."""

    name: str
    period: str
    windows: int
    symbols: int
    horizon: int
    headline: str
    lines: Pairs
    marked: Pairs
    """(model, sentence) of windows that it has seen or may have seen."""
    settings: Mapping[str, Any]
    task: Table | None
    task_about: tuple[str, str]
    questions: Sequence[Question]
    naive: str
    """What naive means for distributions, as the page calls it."""
    calibration: Calibration | None
    by_step: Chart | None
    step_table: Table | None
    by_symbol: Symbols | None
    by_hour: Chart | None
    scores: Table
    skills: Table
    volume: Table | None
    examples: Sequence[Example]
    example_band: str
    """The baseline whose band is drawn beside the model's; empty: none."""
    ran: Pairs
    all_settings: Pairs
    comparisons: int
    left_out: Pairs
    missing: Sequence[str]
    notes: Sequence[str]


def write_evaluation_report(results: Results) -> Path:
    """Write report.html into the folder of an evaluation, whole or not at all."""
    return write("evaluation", evaluation_page(results), results.folder)


def evaluation_page(results: Results) -> EvaluationPage:
    """What the page will say."""
    judged = summary.judge(results)
    naive, models, task = results.naive(QUESTIONS[0]), results.raw_models, results.config.get("task")
    against = naive if models else None  # without models nothing stands against it
    measured = None if task is None else task_table(results, task)
    shown = _example_models(results)
    band = naive if naive is not None and shown and results.spreads(naive) else None
    left_out = results.state.get("left_out", {})
    return EvaluationPage(
        name=results.folder.resolve().name,
        period=summary.period(results),
        windows=results.state["windows"],
        symbols=results.state["symbols"],
        horizon=results.horizon,
        headline=summary.headline(results, judged),
        lines=summary.verdict_lines(results, judged),
        marked=summary.marked(results),
        settings=results.config,
        task=None if measured is None else Table(["Contender", *measured.head], measured.rows),
        task_about=_title(measured),
        questions=[
            Question(question.title.capitalize(), f"{question.unit[0].upper()}{question.unit[1:]}",
                     comparison_table(results, question.loss))
            for question in QUESTIONS if models and results.naive(question) is not None
        ],
        naive="" if naive is None else display_name(naive),
        calibration=_calibration(results, naive),
        by_step=None if against is None else Chart(score_charts.by_step(results, models, against), "CRPS against naive by step ahead"),
        step_table=None if against is None else step_table(results, results.models, against),
        by_symbol=None if against is None else _by_symbol(results, models, against),
        by_hour=None if against is None else _by_hour(results, models, against),
        scores=score_table(results),
        skills=skill_table(results),
        volume=volume_table(results),
        examples=_examples(results, shown, band),
        example_band="" if band is None else display_name(band),
        ran=_what_ran(results),
        all_settings=flat(results.config),
        comparisons=len(results.models) * sum(len(results.rivals(question.loss)) for question in QUESTIONS),
        left_out=[(display_name(name), text) for name, text in left_out.items()],
        missing=[display_name(name) for name in summary.SPOKEN if name not in (*results.baselines, *left_out)],
        notes=[note for facts in results.state["contenders"].values() for note in facts.get("notes", ())],
    )  # fmt: skip


def _title(measured: TaskTable | None) -> tuple[str, str]:
    """What a task is about, and how it is measured."""
    about, _, how = ("" if measured is None else measured.title).partition(": ")
    return about, how[:1].upper() + how[1:]


def _calibration(results: Results, naive: str | None) -> Calibration | None:
    spread = [name for name in results.models if results.spreads(name)]
    shown = [*spread, *([naive] if naive is not None and results.spreads(naive) else [])]
    if not shown:
        return None
    levels = [float(level) for level in results.config["levels"]]
    adaptive = {
        name: {level: _adaptive(results, name, level) for level in levels}
        for name in results.raw_models
        if name in spread
    }
    lines = {
        display_name(name): {level: results.coverage(name, level)[0] for level in (0.5, 0.8, 0.9, 0.95)}
        for name in shown
    }
    pit = []
    for place, name in enumerate(shown):
        figure = score_charts.pit_histogram(results.column(name, "pit").ravel(), score_charts.style(place)[0])
        pit.append((display_name(name), Chart(figure, f"PIT histogram of {display_name(name)}")))
    return Calibration(
        any(name.endswith(CALIBRATED) for name in spread),
        coverage_table(results, adaptive, levels),
        Chart(score_charts.reliability(lines), "Coverage of bands"),
        pit,
    )


def _adaptive(results: Results, model: str, level: float) -> tuple[float, float]:
    """Coverage of adaptive bands over all steps, and their width in % of the last close.

    Each step is replayed for itself, all symbols of a round together.
    """
    low, high = results.band(model, level)
    came, last = results.truth("truth_close"), results.truth("last")
    numbers, rounds = pd.factorize(results.symbols)[0], results.rounds
    shape = int(rounds.max()) + 1, int(numbers.max()) + 1
    shares, widths = [], []
    for step in range(results.horizon):
        lower, upper, true = panel = np.ones(shape), np.ones(shape), np.full(shape, np.nan)
        for grid, values in zip(panel, (low, high, came), strict=True):
            # A price at or below 0 has no logarithm: such an edge lies below every close all the same.
            grid[rounds, numbers] = np.maximum(values[:, step], 1e-12)
        found = adaptive_bands(lower, upper, true, level, delay=-(-(step + 1) // int(results.state["apart"])))
        shares.append(found.coverage())
        widths.append(((found.high - found.low)[rounds, numbers] / last[:, step]).mean() * 100)
    return float(np.mean(shares)), float(np.mean(widths))


def _by_symbol(results: Results, models: Sequence[str], naive: str) -> Symbols | None:
    count = len(set(results.symbols))
    if count < 2:
        return None
    shares = symbol_shares(results, models, naive)
    chart = Chart(score_charts.by_symbol(shares), "CRPS against naive by symbol") if count > CHART_SYMBOLS else None
    won = [(model, int((values < 0).sum()), len(values)) for model, values in shares.items()]
    ranked = count if count > MANY_SYMBOLS else 0
    return Symbols(won, chart, symbol_table(results, shares, naive), ranked, next(iter(shares)))


def _by_hour(results: Results, models: Sequence[str], naive: str) -> Chart | None:
    if len(np.unique(results.truth("hour"))) < 2:
        return None
    return Chart(score_charts.by_hour(results, models, naive), "CRPS against naive by hour of the day")


def _example_models(results: Results) -> list[str]:
    """The models whose examples are drawn: two at most, of those that spread."""
    drawn = (results.folder / EXAMPLES).is_file()
    return [name for name in results.raw_models if drawn and results.spreads(name)][:2]


def _examples(results: Results, models: Sequence[str], band: str | None) -> list[Example]:
    if not models:
        return []
    histories, found = pd.read_parquet(results.folder / EXAMPLES), []
    for window in list(dict.fromkeys(histories["window"]))[: EXAMPLE_CHARTS // len(models)]:
        history = histories[histories["window"] == window]
        symbol = str(results.symbols[window])
        for model in models:
            figure = score_charts.example(history, results, int(window), model, band)
            title = symbol if len(models) == 1 else f"{symbol}, {model}"
            chart = Chart(figure, f"Forecast of {symbol} by {model}", title)
            found.append(Example(day(history["timestamp"].iloc[-1]), chart))
    return found


def _what_ran(results: Results) -> Pairs:
    state, config = results.state, results.config
    pairs = [
        ("Period", f"{summary.period(results)} (bars that are forecast)"),
        ("Windows", f"{config['lookback']} bars of lookback, {results.horizon} of horizon, origins {state['apart']} bars apart"),
        ("Paths", f"{config['paths']}, temperature {config['temperature']:g}, top_p {config['top_p']:g}, seed {config['seed']}"),
    ]  # fmt: skip
    for name in results.raw_models:
        found = state["contenders"].get(name, {})
        text = f"{Path(str(found.get('source'))).name}, {found.get('parameters', 0):,} parameters, sees {found.get('visible')} bars"
        calibration = found.get("calibration")
        if calibration:
            text += f"; calibrated on {calibration['windows']:,} windows, {day(calibration['first'])} to {day(calibration['last'])}"
        pairs.append((name, f"{text}; weights {found.get('weights')}"))
    pairs.append(("Baselines", ", ".join(display_name(name) for name in results.baselines)))
    return [*pairs, ("Versions", f"chandler {state['chandler']}; {written_with()}")]


def comparison_table(results: Results, loss: str) -> Table:
    """Each model against each baseline and each other model by one loss: the difference, its interval, the verdict."""
    rows = []
    for model in results.models:
        mine = results.losses(model)[loss]
        if not np.isfinite(mine).any():
            continue
        rivals = [
            *results.rivals(loss),
            *(m for m in results.raw_models if m != model and not model.endswith(CALIBRATED)),
        ]
        for place, rival in enumerate(rivals):
            c = results.compare(model, rival, loss)
            rows.append(
                (model if not place else "", [display_name(rival), *_difference(c), number(c.mean_a), number(c.mean_b)])
            )
    head = ["Model", "Against", "Verdict", "Difference", "95% interval", "p", "Model's", "Rival's"]
    return Table(head, rows)


def _difference(c: Comparison) -> list[str | Cell]:
    scale = c.mean_b / 100 if c.mean_b else float("nan")
    interval = f"{c.low / scale:+.1f}% to {c.high / scale:+.1f}%" if np.isfinite(c.low) else "-"
    p = "-" if not np.isfinite(c.p_value) else f"{c.p_value:.3f}" if c.p_value >= 0.001 else "< 0.001"
    kind = c.verdict if c.verdict in ("better", "worse") else "even"
    return [Cell(c.verdict, f"mark {kind}"), f"{c.difference / scale:+.1f}%", interval, p]


def score_table(results: Results) -> Table:
    """Every contender by every error of the close."""
    rows = []
    for name in [*results.models, *results.baselines]:
        if not results.prices(name):
            continue
        losses = {key: results.mean(values) for key, values in results.losses(name).items()}
        cells = [cell(losses.get(key)) for key in ("crps", "crps_return", "mae")]
        cells += [cell(np.sqrt(losses["rmse"])), cell(losses.get("mase")), cell(pinball(results, name))]
        rows.append((display_name(name), cells))
    head = ["", "CRPS", "CRPS, returns", "MAE", "RMSE", "MASE", "Pinball 5/95%"]
    return Table(head, rows)


def pinball(results: Results, name: str) -> float:
    """Mean pinball loss of the 5% and 95% quantiles, in % of the last close: what tails cost."""
    if not results.spreads(name):
        return float("nan")
    came, last = results.truth("truth_close"), results.truth("last")
    losses = []
    for level, column in ((0.05, "q05"), (0.95, "q95")):
        above = came - results.column(name, column)
        losses.append(np.maximum(level * above, (level - 1) * above) / last)
    return results.mean(np.mean(losses, axis=(0, 2))) * 100


def skill_table(results: Results) -> Table:
    """Volatility, direction and ranks of every contender."""
    rows: list[Row] = []
    for name in [*results.models, *results.baselines]:
        if not results.prices(name):
            continue
        losses = results.losses(name)
        said: list[str | Cell] = ["-"] * 3 if name in DRIFTLESS else [
            _share(results.direction(name)),
            _coefficient(results.rank_ic(name)),
            _coefficient(results.path_ic(name)),
        ]  # fmt: skip
        spread = [cell(results.mean(losses["volatility"])), cell(results.r2(name)), cell(results.mean(losses["qlike"]))]
        rows.append((display_name(name), [*spread, *said]))
    head = ["", "Volatility MAE", "R²", "QLIKE", "Direction right", "RankIC, symbols", "RankIC, path"]
    return Table(head, rows)


def volume_table(results: Results) -> Table | None:
    """Volume: models against the usual volume; None where there is nothing to compare."""
    rows = []
    for name in [*results.raw_models, *results.baselines]:
        values = results.losses(name)["volume"]
        if np.isfinite(values).any():
            rows.append((display_name(name), [number(results.mean(values))]))
    if len(rows) < 2:
        return None
    return Table(["", "Error"], rows)


def coverage_table(
    results: Results, adaptive: Mapping[str, Mapping[float, tuple[float, float]]], levels: Sequence[float]
) -> Table:
    """How many true closes each band held and how wide it was: models before and after calibration, and naive."""
    rows: list[Row] = []
    for name in [*results.models, *results.baselines]:
        if not results.spreads(name):
            continue
        cells: list[str | Cell] = []
        for level in levels:
            share, low, high = results.coverage(name, level)
            cells += [Cell(f"{share:.1%}", note=f"{low:.0%} to {high:.0%}"), f"{results.width(name, level):.1f}"]
        rows.append((display_name(name), cells))
        if name in adaptive:
            found = [adaptive[name][level] for level in levels]
            texts = [text for share, width in found for text in (f"{share:.1%}", f"{width:.1f}")]
            rows.append((f"{name} (adaptive)", texts))
    return Table(["", *("Inside", "Width") * len(levels)], rows, [f"{level:.0%} band" for level in levels])


def step_table(results: Results, models: Sequence[str], naive: str) -> Table:
    """CRPS at some steps ahead."""
    horizon = results.horizon
    steps = sorted({1, *(max(1, round(horizon * share)) for share in (0.25, 0.5, 0.75)), horizon})
    rows = []
    for name in [*models, naive]:
        each = pd.DataFrame(results.column(name, "crps") / results.truth("last"))
        mean = each.groupby(results.rounds).mean().mean().to_numpy() * 100
        rows.append((display_name(name), [number(mean[step - 1]) for step in steps]))
    return Table(["", *(f"{step}" for step in steps)], rows)


def symbol_shares(results: Results, models: Sequence[str], naive: str) -> dict[str, pd.Series]:
    """CRPS of each model against naive by symbol, in %."""
    base = pd.Series(results.losses(naive)["crps"]).groupby(results.symbols).mean()
    return {
        model: (pd.Series(results.losses(model)["crps"]).groupby(results.symbols).mean() / base - 1) * 100
        for model in models
    }


def symbol_table(results: Results, shares: dict[str, pd.Series], naive: str) -> Table:
    """CRPS by symbol; of very many the ten best and the ten worst of the first model."""
    base = pd.Series(results.losses(naive)["crps"]).groupby(results.symbols).mean()
    counts = pd.Series(results.symbols).value_counts()
    first = next(iter(shares.values()))
    order = list(first.sort_index().index)
    if len(order) > MANY_SYMBOLS:
        ranked = list(first.sort_values().index)
        order = [*ranked[:10], *ranked[-10:]]
    rows = [
        (
            str(symbol),
            [f"{counts[symbol]:,}", number(base[symbol]), *(_signed(shares[model][symbol]) for model in shares)],
        )
        for symbol in order
    ]
    return Table(["Symbol", "Windows", "Naive", *shares], rows)


def _signed(value: float) -> str | Cell:
    kind = "better" if value < 0 else "worse" if value > 0 else "even"
    return Cell(f"{value:+.1f}%", f"signed {kind}") if np.isfinite(value) else "-"


def _share(found: Estimate) -> str | Cell:
    return Cell(f"{found.mean:.1%}", note=f"({found.t:+.1f})") if np.isfinite(found.mean) else "-"


def _coefficient(found: Estimate) -> str | Cell:
    if not np.isfinite(found.mean):
        return "-"
    return Cell(f"{found.mean:+.3f}", note=f"({found.t:+.1f})" if np.isfinite(found.t) else "")
