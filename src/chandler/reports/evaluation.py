"""Writes the report.html of an evaluation from its files alone: the verdict first, losses as plainly as wins."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from html import escape
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd

from chandler.atomic import write_text
from chandler.evaluation.tasks.measures import task_table
from chandler.evaluation.walk_forward.forecasters import CALIBRATED
from chandler.evaluation.walk_forward.results import QUESTIONS, Results
from chandler.evaluation.walk_forward.runner import EXAMPLES
from chandler.measures.adaptive_conformal import adaptive_bands
from chandler.reports import judgement, score_charts, score_tables
from chandler.reports.judgement import ComparisonResult, display_name
from chandler.reports.page import Page, facts, keys
from chandler.reports.verdicts import day
from chandler.training.runs.history import flat

NAME = "report.html"
EXAMPLE_CHARTS = 6


def write_evaluation_report(results: Results) -> Path:
    """Write report.html into the folder of an evaluation, whole or not at all."""
    judged = judgement.judge(results)
    page, name = Page(), results.folder.resolve().name
    body = [
        _header(results, name),
        _verdict(results, judged),
        _task(results),
        _against_naive(results),
        _calibration(page, results),
        _by_step(page, results),
        _by_symbol(page, results),
        _by_hour(page, results),
        _scores(results),
        _examples(page, results),
        _what_ran(results),
        _notes(results),
    ]
    path = results.folder / NAME
    write_text(path, page.html(f"{name} · chandler", "\n".join(part for part in body if part)))
    return path


def _header(results: Results, name: str) -> str:
    state = results.state
    return (
        f"<header><p>chandler · evaluation</p><h1>{escape(name)}</h1><p>{escape(judgement.period(results))}: "
        f"{state['windows']:,} windows of {state['symbols']:,} symbols, {results.horizon} bars ahead</p></header>"
    )


def _verdict(results: Results, judged: Sequence[ComparisonResult]) -> str:
    alarm = bool(judgement.marked(results))
    items = "".join(
        f"<dt>{escape(about)}</dt><dd>{escape(text)}</dd>" for about, text in judgement.verdict_lines(results, judged)
    )
    first = f"<p>{escape(judgement.headline(results, judged))}</p>"
    return f'<section class="verdict{" alarm" if alarm else ""}" aria-label="Verdict">{first}<dl>{items}</dl></section>'


def _task(results: Results) -> str:
    task = results.config.get("task")
    if task is None:
        return ""
    settings = results.config
    how = f"{settings['paths']} paths, temperature {settings['temperature']:g}, top_p {settings['top_p']:g}"
    return (
        f'<h2>The paper\'s task: {escape(task)}</h2><p class="sub">Sampled with {how}, {settings["lookback"]} bars of '
        f"lookback and {settings['horizon']} of horizon (Kronos, arXiv 2508.02739).</p>{task_table(results, task).to_html()}"
    )


def _against_naive(results: Results) -> str:
    if not results.raw_models:
        return ""
    tables = []
    for question in QUESTIONS:
        if results.naive(question) is not None:
            how = f"{question.unit[0].upper()}{question.unit[1:]}; lower is better."
            tables.append(score_tables.comparison_table(results, question.loss, question.title.capitalize(), how))
    return (
        "<h2>Against the baselines</h2>"
        '<p class="sub">Losses are averaged over the symbols of an origin, then compared over the origins in order of time. '
        '"better" and "worse" take both a Diebold-Mariano test (small-sample corrected) and a block bootstrap interval '
        "without 0. All see the same rows before each origin.</p>"
        + "".join(f'<div class="wide">{one}</div>' for one in tables)
    )


def _calibration(page: Page, results: Results) -> str:
    spread = [name for name in results.models if results.spreads(name)]
    naive = results.naive(QUESTIONS[0])
    shown = [*spread, *([naive] if naive is not None and results.spreads(naive) else [])]
    if not shown:
        return ""
    levels = [float(level) for level in results.config["levels"]]
    adaptive = {
        name: {level: _adaptive(results, name, level) for level in levels}
        for name in results.raw_models
        if name in spread
    }
    twins = any(name.endswith(CALIBRATED) for name in spread)
    how = (
        "Calibrated: moved by how far the run's bands missed in its own validation period, before these windows. "
        if twins
        else "No stored calibration was applied (chandler calibrate RUN fits one). "
    )
    adapted = (
        "Adaptive: bands that are corrected origin after origin by what had come true until then; it needs no validation "
        "period, and the first origins are not corrected yet."
    )
    lines = {
        display_name(name): {level: results.coverage(name, level)[0] for level in (0.5, 0.8, 0.9, 0.95)}
        for name in shown
    }
    figures = [
        f"<figure><h3>Covered against claimed</h3><figcaption>On the dashed line a band covers what it says; below it, bands "
        f"are too narrow.</figcaption>{page.chart(score_charts.reliability(lines), 'Coverage of bands')}</figure>"
    ]
    for number, name in enumerate(shown):
        chart = page.chart(
            score_charts.pit_histogram(results.column(name, "pit").ravel(), score_charts.style(number)[0]),
            f"PIT histogram of {display_name(name)}",
        )
        figures.append(
            f"<figure><h3>Where the truth lay: {escape(display_name(name))}</h3><figcaption>Share of closes in each tenth of the "
            f"forecast distribution. Flat is right; high ends: too narrow; a slope: biased.</figcaption>{chart}</figure>"
        )
    table = score_tables.coverage_table(results, adaptive, levels)
    return f'<h2>Calibration</h2><p class="sub">{how}{adapted}</p>{table}<div class="grid">{"".join(figures)}</div>'


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


def _by_step(page: Page, results: Results) -> str:
    naive, models = results.naive(QUESTIONS[0]), results.raw_models
    if naive is None or not models:
        return ""
    chart = page.chart(score_charts.by_step(results, models, naive), "CRPS against naive by step ahead")
    table = score_tables.step_table(results, results.models, naive)
    return (
        f'<h2>By step ahead</h2><div class="grid"><figure><h3>CRPS against the {escape(display_name(naive))}</h3><figcaption>Below 0 is '
        f"better than naive; the band is the 95% interval over the origins.</figcaption>{chart}</figure>{table}</div>"
    )


def _by_symbol(page: Page, results: Results) -> str:
    naive, models = results.naive(QUESTIONS[0]), results.raw_models
    if naive is None or not models or len(set(results.symbols)) < 2:
        return ""
    shares = score_tables.symbol_shares(results, models, naive)
    won = "; ".join(
        f"{escape(model)} has a lower CRPS than naive for {int((values < 0).sum())} of {len(values)}"
        for model, values in shares.items()
    )
    parts = [f'<h2>By symbol</h2><p class="sub">{won}.</p>']
    if len(set(results.symbols)) > 12:
        chart = page.chart(score_charts.by_symbol(shares), "CRPS against naive by symbol")
        parts.append(f"<figure><figcaption>CRPS against naive, below 0 is better.</figcaption>{chart}</figure>")
    return "".join([*parts, score_tables.symbol_table(results, shares, naive)])


def _by_hour(page: Page, results: Results) -> str:
    naive, models = results.naive(QUESTIONS[0]), results.raw_models
    if naive is None or not models or len(np.unique(results.truth("hour"))) < 2:
        return ""
    chart = page.chart(score_charts.by_hour(results, models, naive), "CRPS against naive by hour of the day")
    return (
        f"<h2>By hour of the day</h2><figure><figcaption>CRPS against the {escape(display_name(naive))} by the hour of the bar that "
        f"is forecast, on the clock of each symbol; below 0 is better.</figcaption>{chart}</figure>"
    )


def _scores(results: Results) -> str:
    tables = [score_tables.score_table(results), score_tables.skill_table(results), score_tables.volume_table(results)]
    return "<h2>All measures</h2>" + "".join(f'<div class="wide">{one}</div>' for one in tables if one)


def _examples(page: Page, results: Results) -> str:
    path = results.folder / EXAMPLES
    models = [name for name in results.raw_models if results.spreads(name)][:2]
    if not path.is_file() or not models:
        return ""
    histories = pd.read_parquet(path)
    naive = results.naive(QUESTIONS[0])
    band = naive if naive is not None and results.spreads(naive) else None
    windows = list(dict.fromkeys(histories["window"]))[: EXAMPLE_CHARTS // len(models)]
    figures = []
    for window in windows:
        history = histories[histories["window"] == window]
        symbol, origin = str(results.symbols[window]), day(pd.Timestamp(history["timestamp"].iloc[-1]))
        for model in models:
            chart = page.chart(
                score_charts.example(history, results, int(window), model, band),
                f"Forecast of {symbol} by {model}",
                tall=True,
            )
            title = symbol if len(models) == 1 else f"{symbol}, {model}"
            figures.append(
                f"<figure><h3>{escape(title)}</h3><figcaption>after {escape(origin)}, price</figcaption>{chart}</figure>"
            )
    legend = keys(
        [
            ("candle history", "history"),
            ("candle truth", "what came true"),
            ("line", "forecast, mean close"),
            ("area", "forecast, 80% band"),
            *([("dots", f"{display_name(band)}, 80% band")] if band else []),
        ]
    )
    return (
        f'<h2>Examples</h2><p class="sub">Drawn at random by the seed, before anything was forecast: not the best ones.</p>'
        f'{legend}<div class="grid">{"".join(figures)}</div>'
    )


def _what_ran(results: Results) -> str:
    state, config = results.state, results.config
    pairs = [
        ("Period", f"{judgement.period(results)} (bars that are forecast)"),
        (
            "Windows",
            f"{config['lookback']} bars of lookback, {results.horizon} of horizon, origins {state['apart']} bars apart",
        ),
        (
            "Paths",
            f"{config['paths']}, temperature {config['temperature']:g}, top_p {config['top_p']:g}, seed {config['seed']}",
        ),
    ]
    for name in results.raw_models:
        found = state["contenders"].get(name, {})
        text = f"{Path(str(found.get('source'))).name}, {found.get('parameters', 0):,} parameters, sees {found.get('visible')} bars"
        calibration = found.get("calibration")
        if calibration:
            text += f"; calibrated on {calibration['windows']:,} windows, {day(pd.Timestamp(calibration['first']))} to "
            text += day(pd.Timestamp(calibration["last"]))
        pairs.append((name, f"{text}; weights {found.get('weights')}"))
    pairs.append(("Baselines", ", ".join(display_name(name) for name in results.baselines)))
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "pandas"))
    pairs.append(
        ("Versions", f"chandler {state['chandler']}; page written with Python {platform.python_version()}, {versions}")
    )
    details = facts(flat(config))
    return f"<h2>What ran</h2>{facts(pairs)}<details><summary>All settings</summary>{details}</details>"


def _notes(results: Results) -> str:
    rivals = sum(len(results.rivals(question.loss)) for question in QUESTIONS)
    lines = judgement.caveats(results, len(results.models) * rivals)
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    about = (
        "Written by chandler from scores.parquet, from which every table can be rebuilt (chandler report). This file is "
        "complete in itself: it loads nothing from anywhere."
    )
    return f"<h2>What this does not show</h2><ul>{items}</ul><footer>{about}</footer>"
