"""Writes a run folder's report.html: one file that needs no network, with the verdict first and the losses told as
plainly as the wins."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from chandler.atomic import write_text
from chandler.evaluation import charts, verdicts
from chandler.evaluation.page import Page, facts
from chandler.evaluation.runlog import RunLog, StageLog, flat, short
from chandler.evaluation.scoring import LAST_CLOSE, RANDOM_WALK, ForecastCase, score_cases
from chandler.evaluation.tables import band_table, duration, error_table, stage_table
from chandler.evaluation.verdicts import MEASURES, Reference, day

__all__ = ["ForecastCase", "score_cases", "write_report"]

NAME = "report.html"
MAX_CHARTS = 24
"""Forecasts drawn at most; the tables have all of them."""


def write_report(
    run_folder: str | Path,
    cases: Iterable[ForecastCase] = (),
    *,
    notes: Sequence[str] = (),
    references: Mapping[str, Reference] | None = None,
    walk_paths: int = 1000,
    seed: int = 0,
) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    Args:
        run_folder: what `finetune` wrote. Stages may be missing, off, kept from an earlier run, or unfinished.
        cases: forecasts to show and, where they have a truth, to score.
        notes: sentences about this run that its files do not tell.
        references: per stage, what its validation measure comes to without a model, such as
            {"predictor": ("The frequencies of tokens alone", 6.1)}.
        walk_paths, seed: of the random walk that the forecasts are held against.

    Returns:
        The path of the page.

    Raises:
        ConfigError: no run folder, or a file in it that cannot be read.
        DataError: a truth that does not fit its forecast.
    """
    log, cases, references = RunLog.read(run_folder), list(cases), references or {}
    scores = score_cases(cases, paths=walk_paths, seed=seed)
    page, name = Page(), log.folder.resolve().name
    body = [
        _header(log, name),
        _verdict(log, cases, scores, references),
        _forecasts(page, cases, scores, seed),
        _training(page, log, references),
        _what_ran(log, cases),
        _notes([*notes, *verdicts.caveats(log, cases)]),
    ]
    path = log.folder / NAME
    write_text(path, page.html(f"{name} · chandler", "\n".join(body)))
    return path


def _header(log: RunLog, name: str) -> str:
    when = f"{datetime.fromtimestamp(log.began, UTC):%d %B %Y}, " if log.began else ""
    return (
        f"<header><p>chandler · run report</p><h1>{escape(name)}</h1>"
        f"<p>{when}{duration(log.seconds)} of training and validation</p></header>"
    )


def _verdict(
    log: RunLog, cases: Sequence[ForecastCase], scores: pd.DataFrame, references: Mapping[str, Reference]
) -> str:
    alarm, seen = verdicts.seen_before(log, cases)
    lines = verdicts.forecast_verdicts(scores, cases)
    if seen:
        lines.insert(0 if alarm else len(lines), ("Seen before!" if alarm else "Unseen", seen))
    lines += [(s.name.capitalize(), verdicts.stage_verdict(s, references.get(s.name))) for s in log.stages]
    items = "".join(f"<dt>{escape(about)}</dt><dd>{escape(text)}</dd>" for about, text in lines)
    first = f"<p>{escape(verdicts.headline(log, scores))}</p>"
    return f'<section class="verdict{" alarm" if alarm else ""}" aria-label="Verdict">{first}<dl>{items}</dl></section>'


def _forecasts(page: Page, cases: Sequence[ForecastCase], scores: pd.DataFrame, seed: int) -> str:
    if not cases:
        return ""
    first = cases[0].forecast
    parts = [
        f'<h2>Forecasts</h2><p class="sub">{first.horizon} bars ahead, {len(first.paths)} sampled '
        f"path{'s' if len(first.paths) != 1 else ''} each, {escape(_sampling(first))}. The model saw the "
        f"{len(first.history)} bars before. The baselines see the same bars: the last close is carried forward, the random "
        "walk draws its steps from the log returns of these bars.</p>"
    ]
    if not scores.empty:
        point = error_table(
            scores,
            "mae",
            LAST_CLOSE,
            "Mean absolute error of the close",
            "The mean of the paths as a point forecast. In % of the last close, lower is better.",
        )
        spread = error_table(
            scores,
            "crps",
            RANDOM_WALK,
            "CRPS of the close",
            "All paths as a distribution; the last close is a point. In % of the last close, lower is better.",
        )
        parts.append(f'<div class="grid">{point}{spread}</div>')
        if verdicts.has_band(scores):
            parts.append(f'<div class="narrow">{band_table(scores)}</div>')
    shown = cases[:MAX_CHARTS]
    if len(cases) > len(shown):
        parts.append(f'<p class="sub">Charts of the first {len(shown)} of {len(cases)} forecasts.</p>')
    figures = "".join(_candle_figure(page, case, seed) for case in shown)
    parts.append(f'{charts.legend(cases)}<div class="grid">{figures}</div>')
    return "\n".join(parts)


def _candle_figure(page: Page, case: ForecastCase, seed: int) -> str:
    name = case.forecast.symbol
    caption = f"after {day(case.origin)}, price" + (
        "" if case.truth is not None else "; what came true is not known yet"
    )
    chart = page.chart(charts.candles(case, seed=seed), f"Candles and forecast of {name}", tall=True)
    return f"<figure><h3>{escape(name)}</h3><figcaption>{escape(caption)}</figcaption>{chart}</figure>"


def _sampling(forecast: Any) -> str:
    rule = forecast.sampling
    kept = f", top-k {rule.top_k}" if rule.top_k else ""
    kept += f", top-p {rule.top_p:g}" if rule.top_p not in (None, 1, 1.0) else ""
    return f"temperature {rule.temperature:g}{kept}, seed {forecast.seed}"


def _training(page: Page, log: RunLog, references: Mapping[str, Reference]) -> str:
    figures = []
    for stage in log.stages:
        if stage.validation:
            loss = "mse" if "mse" in stage.validation[0] else "nll"
            figures.append(_curve(page, stage, loss, references.get(stage.name)))
            chosen = stage.outcome.get("measure", loss)
            # A reference is one of the loss: it has no place on the axis of another score.
            figures += [_curve(page, stage, chosen, None)] if chosen != loss else []
    if not figures:
        return "<h2>Training</h2><p>No stage was trained in this run.</p>"
    return f'<h2>Training</h2>{stage_table(log)}<div class="grid">{"".join(figures)}</div>'


def _curve(page: Page, stage: StageLog, measure: str, reference: Reference | None) -> str:
    """The curve of a validation measure; training's line beside it where the log has it in the same unit."""
    alike = {"mse": ("mse",), "nll": ("ce_s1", "ce_s2")}.get(measure, ())
    found = [record for record in stage.train if alike and all(key in record for key in alike)]
    train = [(int(record["step"]), float(sum(record[key] for key in alike))) for record in found]
    validation = [(int(record["step"]), float(record[measure])) for record in stage.validation if measure in record]
    how = {
        "mse": "Logarithmic axis. Training is the mean of the batches since the last record.",
        "nll": "Training has dropout, and draws the s1 that s2 depends on unless set otherwise; validation has neither.",
        "crps": "Of real forecasts of a fixed set of validation windows. It chose the checkpoint.",
        "rank_ic": "Of real forecasts of a fixed set of validation windows. It chose the checkpoint.",
    }.get(measure, "")
    best = stage.outcome.get("best_step")
    figure = charts.losses(train, validation, reference=reference, log=measure == "mse", best_step=best)
    chart = page.chart(figure, f"Loss curves of the {stage.name}")
    label = MEASURES.get(measure, measure)
    title = f"{stage.name.capitalize()}: {label}"
    return f"<figure><h3>{escape(title)}</h3><figcaption>{escape(how)}</figcaption>{chart}</figure>"


def _what_ran(log: RunLog, cases: Sequence[ForecastCase]) -> str:
    data, settings = log.summary.get("data", {}), log.config.get("data") or {}
    pairs: list[tuple[str, str]] = []
    if data:
        pairs.append(("Data", f"{data['symbols']:,} symbols, {data['rows']:,} bars"))
        for name, label in (("train", "Training"), ("val", "Validation")):
            part = data["splits"].get(name)
            if part:
                span = f"{day(pd.Timestamp(part['first']))} to {day(pd.Timestamp(part['last']))}"
                pairs.append((label, f"{span}: {part['rows']:,} bars, {part['windows']:,} windows"))
    scored = [case.forecast for case in cases if case.truth is not None]
    if scored:
        first, last = min(f.timestamps[0] for f in scored), max(f.timestamps[-1] for f in scored)
        names = sorted({f.symbol for f in scored})
        listed = ", ".join(names[:12]) + (" and others" if len(names) > 12 else "")
        pairs.append(("Forecast test", f"{day(first)} to {day(last)}: {len(scored)} forecasts ({listed})"))
    if settings:
        pairs.append(("Window", f"{settings.get('lookback')} bars of lookback, {settings.get('horizon')} of horizon"))
    for stage in log.stages:
        pairs.append((stage.name.capitalize(), _architecture(stage)))
        if stage.ran:
            pairs.append((f"{stage.name.capitalize()} training", _effort(stage)))
    pairs.append(("Seed", str(log.config.get("seed", ""))))
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "numpy", "pandas"))
    made = f"page written with Python {platform.python_version()}, {versions}"
    pairs.append(("Versions", f"trained with chandler {log.summary.get('chandler', '?')}; {made}"))
    details = facts(flat(log.config))
    return f"<h2>What ran</h2>{facts(pairs)}<details><summary>All settings</summary>{details}</details>"


def _architecture(stage: StageLog) -> str:
    model = stage.model
    origin = "random weights" if stage.random_start else short(stage.settings.get("start", "?"))
    if not model:
        return f"from {origin}; no result"
    count = stage.outcome.get("parameters")
    layers = model.get("n_layers") or f"{model.get('n_enc_layers', 1) - 1} + {model.get('n_dec_layers', 1) - 1}"
    return (
        f"from {origin}; {f'{count:,} parameters, ' if count else ''}{layers} layers, width {model.get('d_model')}, "
        f"{model.get('n_heads')} heads, {model.get('s1_bits')} + {model.get('s2_bits')} bits"
    )


def _effort(stage: StageLog) -> str:
    done, settings = stage.outcome, stage.settings
    return (
        f"{done['steps']:,} steps of {settings.get('batch_size', '?')} windows per device "
        f"({done['epochs']} epoch{'s' if done['epochs'] != 1 else ''}), peak learning rate "
        f"{settings.get('learning_rate')}, {duration(done['seconds'])}"
        + (", stopped early by patience" if done.get("stopped_early") else "")
    )


def _notes(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    about = "Written by chandler. This file is complete in itself: it loads nothing from anywhere."
    return f"<h2>What this does not show</h2><ul>{items}</ul><footer>{about}</footer>"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
