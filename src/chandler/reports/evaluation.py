"""The page of an evaluation, from its files alone: the verdict first, losses as plainly as wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandler.evaluation.tasks import TaskTable, task_table
from chandler.evaluation.walk_forward import CALIBRATED, EXAMPLES, QUESTIONS, ComparisonSpec, Results
from chandler.forecasting import Calibration as StoredCalibration
from chandler.measures import Comparison, Estimate
from chandler.reports import evaluation_summary as summary
from chandler.reports import score_charts
from chandler.reports.evaluation_summary import display_name
from chandler.reports.render import Chart, Pairs, day, sentence, sentences, write, written_with
from chandler.training.runs import flat

EXAMPLE_CHARTS = 6
DRIFTLESS = ("last_close", "bootstrap", "gaussian_walk", "ewma", "garch")
"""Baselines that expect no move: what direction their paths' mean has is chance."""
MANY_SYMBOLS = 40
"""Beyond so many the table of symbols shows both ends only."""
CHART_SYMBOLS = 12
"""Beyond so many there is a chart of them besides."""


@dataclass(frozen=True)
class Band:
    """Share of the true closes inside, with its interval (None for adaptive bands and for one origin), and width in % of the last close."""

    share: float
    interval: tuple[float, float] | None
    width: float


@dataclass(frozen=True)
class Calibration:
    """What the bands covered."""

    learnt: str
    """On which bars the calibrations that were applied were fitted, in words; empty: none was."""
    levels: Sequence[float]
    bands: Sequence[tuple[str, Sequence[Band]]]
    """Of each contender that spreads, by level."""
    reliability: Chart
    pit: Sequence[tuple[str, Chart]]


@dataclass(frozen=True)
class Steps:
    """CRPS at some steps ahead, in % of the last close, by contender."""

    chart: Chart
    shown: Sequence[int]
    crps: Sequence[tuple[str, Sequence[float]]]


@dataclass(frozen=True)
class Symbols:
    """CRPS against naive by symbol. `won`: per model, for how many of how many it is lower."""

    won: Sequence[tuple[str, int, int]]
    chart: Chart | None
    models: Sequence[str]
    rows: Sequence[tuple[str, int, float, Sequence[float]]]
    """(symbol, windows, CRPS of naive in % of the last close, the models' against it in %)."""
    ranked: int
    """How many there are, where the rows are the ten best and the ten worst of the first model; else 0."""


@dataclass(frozen=True)
class Scored:
    """A contender by every measure; the last three are None for walks, which expect no move."""

    name: str
    losses: Mapping[str, float]
    """Means by the names of `Results.losses`; those that it says nothing of are NaN."""
    rmse: float
    pinball: float
    r2: float
    direction: Estimate | None
    rank_ic: Estimate | None
    path_ic: Estimate | None


@dataclass(frozen=True)
class EvaluationPage:
    """What the page says."""

    name: str
    period: str
    state: Mapping[str, Any]
    settings: Mapping[str, Any]
    headline: str
    lines: Pairs
    marked: Pairs
    """(model, sentence) of windows that it has seen or may have seen."""
    task: TaskTable | None
    questions: Sequence[tuple[ComparisonSpec, Sequence[tuple[str, str, Comparison]]]]
    """What a model may be better at than naive, each with its comparisons: (model, rival, comparison)."""
    naive: str
    """What naive means for distributions, as the page calls it."""
    calibration: Calibration | None
    by_step: Steps | None
    by_symbol: Symbols | None
    by_hour: Chart | None
    scores: Sequence[Scored]
    volume: Sequence[tuple[str, float]]
    """Errors of those that say something of it; empty: fewer than two do."""
    examples: Sequence[tuple[str, Chart]]
    """Forecasts of single windows, by the bar that each was made after."""
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
    judged, task = summary.judge(results), results.config.get("task")
    naive = results.naive(QUESTIONS[0])
    against = naive if results.raw_models else None  # without models nothing stands against it
    examples, band = _examples(results, naive)
    left_out = results.state.get("left_out", {})
    return EvaluationPage(
        name=results.folder.resolve().name,
        period=summary.period(results),
        state=results.state,
        settings=results.config,
        headline=summary.headline(results, judged),
        lines=summary.verdict_lines(results, judged),
        marked=summary.marked(results),
        task=None if task is None else task_table(results, task),
        questions=[
            (one, _answers(results, one.loss)) for one in QUESTIONS if results.raw_models and results.naive(one)
        ],
        naive=display_name(naive or ""),
        calibration=_calibration(results, naive),
        by_step=None if against is None else _by_step(results, against),
        by_symbol=None if against is None else _by_symbol(results, against),
        by_hour=None if against is None else _by_hour(results, against),
        scores=[_scored(results, name) for name in [*results.models, *results.baselines] if results.prices(name)],
        volume=_volume(results),
        examples=examples,
        example_band=band,
        ran=_ran(results),
        all_settings=flat(results.config),
        comparisons=len(results.models) * sum(len(results.rivals(one.loss)) for one in QUESTIONS if results.naive(one)),
        left_out=[(display_name(name), text) for name, text in left_out.items()],
        missing=[display_name(name) for name in summary.SPOKEN if name not in (*results.baselines, *left_out)],
        notes=[note for facts in results.state["contenders"].values() for note in facts.get("notes", ())],
    )


def _answers(results: Results, loss: str) -> list[tuple[str, str, Comparison]]:
    """Each model against each baseline and each other model by one loss."""
    found = []
    for model in results.models:
        if np.isfinite(results.losses(model)[loss]).any():
            others = [] if model.endswith(CALIBRATED) else [one for one in results.raw_models if one != model]
            rivals = [*results.rivals(loss), *others]
            found += [(model, display_name(rival), results.compare(model, rival, loss)) for rival in rivals]
    return found


def _calibration(results: Results, naive: str | None) -> Calibration | None:
    spread = [name for name in results.models if results.spreads(name)]
    shown = [*spread, *([naive] if naive is not None and results.spreads(naive) else [])]
    if not shown:
        return None
    levels = [float(level) for level in results.config["levels"]]
    bands: list[tuple[str, list[Band]]] = []
    for name in filter(results.spreads, [*results.models, *results.baselines]):
        found = [(*results.coverage(name, level), results.width(name, level)) for level in levels]
        bands.append((display_name(name), [
            Band(share, None if np.isnan(low) else (low, high), width) for share, low, high, width in found
        ]))  # fmt: skip
        if name in results.raw_models:
            adaptive = [results.adaptive_coverage(name, level) for level in levels]
            bands.append((f"{name} (adaptive)", [Band(share, None, width) for share, width in adaptive]))
    lines = {
        display_name(name): {level: results.coverage(name, level)[0] for level in (0.5, 0.8, 0.9, 0.95)}
        for name in shown
    }
    pit = []
    for place, name in enumerate(shown):
        shares = score_charts.pit_shares(results.column(name, "pit"))
        figure = score_charts.pit_histogram(shares, score_charts.style(place).color)
        pit.append((display_name(name), Chart(figure, f"PIT histogram of {display_name(name)}")))
    reliability = Chart(score_charts.reliability(lines), "Coverage of bands")
    return Calibration(_learnt(results, spread), levels, bands, reliability, pit)


def _learnt(results: Results, spread: Sequence[str]) -> str:
    """On which bars the calibrations of these contenders were fitted; empty for none."""
    found: dict[str, list[str]] = {}
    for name in spread:
        if name.endswith(CALIBRATED):
            model = name.removesuffix(CALIBRATED)
            again = "along" if len(results.calibrations(model)) > 1 else "before"
            found.setdefault("here" if results.calibrated_here(model) else again, []).append(model)
    return sentence("evaluation", "learnt", found) if found else ""


def _by_step(results: Results, naive: str) -> Steps:
    horizon = results.horizon
    steps = sorted({1, *(max(1, round(horizon * share)) for share in (0.25, 0.5, 0.75)), horizon})
    rows = []
    for name in [*results.models, naive]:
        mean = results.crps_by_round(name).mean(0) * 100
        rows.append((display_name(name), [float(mean[step - 1]) for step in steps]))
    chart = Chart(score_charts.by_step(results, results.raw_models, naive), "CRPS against naive by step ahead")
    return Steps(chart, steps, rows)


def _by_symbol(results: Results, naive: str) -> Symbols | None:
    base, counts = results.crps_by_symbol(naive), pd.Series(results.symbols).value_counts()
    if len(base) < 2:
        return None
    shares = {model: results.crps_by_symbol(model, naive) for model in results.raw_models}
    chart = Chart(score_charts.by_symbol(shares), "CRPS against naive by symbol") if len(base) > CHART_SYMBOLS else None
    won = [(model, int((values < 0).sum()), len(values)) for model, values in shares.items()]
    order, ranked = list(base.index), 0
    if len(order) > MANY_SYMBOLS:
        best = list(shares[results.raw_models[0]].sort_values().index)
        order, ranked = [*best[:10], *best[-10:]], len(best)
    rows = [(str(one), int(counts[one]), base[one], [values[one] for values in shares.values()]) for one in order]
    return Symbols(won, chart, list(shares), rows, ranked)


def _by_hour(results: Results, naive: str) -> Chart | None:
    if len(np.unique(results.truth("hour"))) < 2:
        return None
    return Chart(score_charts.by_hour(results, results.raw_models, naive), "CRPS against naive by hour of the day")


def _scored(results: Results, name: str) -> Scored:
    losses = {key: results.mean(values) for key, values in results.losses(name).items()}
    found = (
        [None] * 3
        if name in DRIFTLESS
        else [one(name) for one in (results.direction, results.rank_ic, results.path_ic)]
    )
    return Scored(
        display_name(name),
        losses,
        float(np.sqrt(losses["rmse"])),
        results.pinball(name),
        results.r2(name),
        *found,
    )


def _volume(results: Results) -> list[tuple[str, float]]:
    found = [(name, results.losses(name)["volume"]) for name in [*results.raw_models, *results.baselines]]
    rows = [(display_name(name), results.mean(values)) for name, values in found if np.isfinite(values).any()]
    return rows if len(rows) > 1 else []


def _examples(results: Results, naive: str | None) -> tuple[list[tuple[str, Chart]], str]:
    """Windows by two models at most, of those that spread, beside the band of naive; what that is called, "" for none."""
    models = [name for name in results.raw_models if results.spreads(name)][:2]
    if not models or not (results.folder / EXAMPLES).is_file():
        return [], ""
    band = naive if naive is not None and results.spreads(naive) else None
    histories, found = results.table(EXAMPLES).to_pandas(), []
    for window in list(dict.fromkeys(histories["window"]))[: EXAMPLE_CHARTS // len(models)]:
        history = histories[histories["window"] == window]
        symbol = str(results.symbols[window])
        for model in models:
            figure = score_charts.example(history, results, int(window), model, band)
            title = symbol if len(models) == 1 else f"{symbol}, {model}"
            chart = Chart(figure, f"Forecast of {symbol} by {model}", title)
            found.append((day(history["timestamp"].iloc[-1]), chart))
    return found, display_name(band or "")


def _says(calibrations: list[dict[str, Any]]) -> str:
    """What calibrations are made of, the first and the last; empty for none."""
    told = [StoredCalibration.from_dict(one).says().removeprefix("Calibrated: ") for one in calibrations]
    if len(told) < 2:
        return "".join(told)
    again = "once" if len(told) == 2 else f"{len(told) - 1} times"
    return f"{told[0]} Fitted again {again} along the period, on all that had come by then; the last: {told[-1]}"


def _ran(results: Results) -> Pairs:
    contenders = results.state["contenders"]
    models = [(name, contenders.get(name, {})) for name in results.raw_models]
    models = [(name, facts | {"calibrated": _says(results.calibrations(name))}) for name, facts in models]
    baselines = [display_name(name) for name in results.baselines]
    facts = {"period": summary.period(results), "state": results.state, "settings": results.config, "models": models,
             "baselines": baselines, "written": written_with()}  # fmt: skip
    return sentences("evaluation", "ran", facts)
