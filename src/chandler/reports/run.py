"""Writes a run folder's report.html: one file that needs no network, with the verdict first and the losses told as
plainly as the wins."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path

import pandas as pd

from chandler.atomic import write_text
from chandler.reports import charts, verdicts
from chandler.reports.page import Page, facts
from chandler.reports.tables import duration, stage_table
from chandler.reports.verdicts import MEASURES, day
from chandler.training.runs.history import RunHistory, StageHistory, flat, short

NAME = "report.html"


def write_report(run_folder: str | Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    Args:
        run_folder: what `finetune` wrote. Stages may be missing, off, kept from an earlier run, or unfinished.

    Returns:
        The path of the page.

    Raises:
        ConfigError: no run folder, or a file in it that cannot be read.
    """
    log = RunHistory.read(run_folder)
    page, name = Page(), log.folder.resolve().name
    body = [_header(log, name), _verdict(log), _training(page, log), _what_ran(log), _notes(verdicts.caveats(log))]
    path = log.folder / NAME
    write_text(path, page.html(f"{name} · chandler", "\n".join(body)))
    return path


def _header(log: RunHistory, name: str) -> str:
    when = f"{datetime.fromtimestamp(log.began, UTC):%d %B %Y}, " if log.began else ""
    return (
        f"<header><p>chandler · run report</p><h1>{escape(name)}</h1>"
        f"<p>{when}{duration(log.seconds)} of training and validation</p></header>"
    )


def _verdict(log: RunHistory) -> str:
    lines = [(stage.name.capitalize(), verdicts.stage_verdict(stage)) for stage in log.stages]
    items = "".join(f"<dt>{escape(about)}</dt><dd>{escape(text)}</dd>" for about, text in lines)
    first = f"<p>{escape(verdicts.headline(log))}</p>"
    return f'<section class="verdict" aria-label="Verdict">{first}<dl>{items}</dl></section>'


def _training(page: Page, log: RunHistory) -> str:
    figures = []
    for stage in log.stages:
        if stage.validation:
            loss = "mse" if "mse" in stage.validation[0] else "nll"
            chosen = stage.outcome.get("measure", loss)
            figures += [_curve(page, stage, measure) for measure in dict.fromkeys((loss, chosen))]
    if not figures:
        return "<h2>Training</h2><p>No stage was trained in this run.</p>"
    return f'<h2>Training</h2>{stage_table(log)}<div class="grid">{"".join(figures)}</div>'


def _curve(page: Page, stage: StageHistory, measure: str) -> str:
    """The curve of a validation measure; training's line beside it where the log has it in the same unit."""
    alike = {"mse": ("mse",), "nll": ("ce_s1", "ce_s2")}.get(measure, ())
    found = [record for record in stage.train if alike and all(key in record for key in alike)]
    train = [(int(record["step"]), float(sum(record[key] for key in alike))) for record in found]
    validation = [(int(record["step"]), float(record[measure])) for record in stage.validation if measure in record]
    how = {
        "mse": "Training is the mean of the batches since the last record.",
        "nll": "Training has dropout, and draws the s1 that s2 depends on unless set otherwise; validation has neither.",
        "crps": "Of real forecasts of a fixed set of validation windows. It chose the checkpoint.",
        "rank_ic": "Of real forecasts of a fixed set of validation windows. It chose the checkpoint.",
    }.get(measure, "")
    best = stage.outcome.get("best_step")
    figure = charts.losses(train, validation, best_step=best)
    chart = page.chart(figure, f"Loss curves of the {stage.name}")
    label = MEASURES.get(measure, measure)
    title = f"{stage.name.capitalize()}: {label}"
    return f"<figure><h3>{escape(title)}</h3><figcaption>{escape(how)}</figcaption>{chart}</figure>"


def _what_ran(log: RunHistory) -> str:
    data, settings = log.summary.get("data", {}), log.config.get("data") or {}
    pairs: list[tuple[str, str]] = []
    if data:
        pairs.append(("Data", f"{data['symbols']:,} symbols, {data['rows']:,} bars"))
        for name, label in (("train", "Training"), ("val", "Validation")):
            part = data["splits"].get(name)
            if part:
                span = f"{day(pd.Timestamp(part['first']))} to {day(pd.Timestamp(part['last']))}"
                pairs.append((label, f"{span}: {part['rows']:,} bars, {part['windows']:,} windows"))
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


def _architecture(stage: StageHistory) -> str:
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


def _effort(stage: StageHistory) -> str:
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
