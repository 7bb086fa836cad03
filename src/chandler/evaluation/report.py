"""Writes a run folder's report.html: one file that needs no network, with the verdict first and the losses told as
plainly as the wins."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib import metadata, resources
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from chandler.evaluation import charts
from chandler.evaluation.runlog import RunLog, StageLog
from chandler.evaluation.scoring import BAND, LAST_CLOSE, MODEL, RANDOM_WALK, ForecastCase, pivot, score_cases
from chandler.evaluation.verdicts import (
    MEASURES,
    caveats,
    change,
    day,
    digits,
    forecast_verdicts,
    has_band,
    seen_before,
    stage_verdict,
)

__all__ = ["ForecastCase", "score_cases", "write_report"]

NAME = "report.html"
MAX_CHARTS = 24
"""Forecasts drawn at most; the tables have all of them."""


def write_report(
    run_folder: str | Path,
    cases: Iterable[ForecastCase] = (),
    *,
    notes: Sequence[str] = (),
    walk_paths: int = 1000,
    seed: int = 0,
) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    Args:
        run_folder: what `finetune` wrote. Stages may be missing, off, skipped or unfinished.
        cases: forecasts to show and, where they have a truth, to score.
        notes: sentences about this run that its files do not tell.
        walk_paths, seed: of the random walk that the forecasts are held against.

    Returns:
        The path of the page.

    Raises:
        ConfigError: no run folder, or a file in it that cannot be read.
        DataError: a truth that does not fit its forecast.
    """
    log, cases = RunLog.read(run_folder), list(cases)
    scores = score_cases(cases, paths=walk_paths, seed=seed)
    page = _Page()
    body = [
        _header(log),
        _verdict(log, cases, scores),
        _forecasts(page, cases, scores, seed),
        _training(page, log),
        _what_ran(log, cases),
        _notes([*notes, *caveats(log, cases)]),
    ]
    path = log.folder / NAME
    _write_whole(path, page.html(f"{_title(log)} · chandler", "\n".join(body)))
    return path


class _Page:
    """Collects the figures; the script draws each into its place."""

    def __init__(self) -> None:
        self.figures: list[charts.Figure] = []

    def chart(self, figure: charts.Figure, label: str, *, tall: bool = False) -> str:
        self.figures.append(figure)
        size = "chart tall" if tall else "chart"
        name = f"figure-{len(self.figures)}"
        return f'<div class="{size}" data-figure="{name}" role="img" aria-label="{escape(label)}"></div>'

    def html(self, title: str, body: str) -> str:
        data = "\n".join(
            # "<" is written as an escape: no text from the data can end the element.
            f'<script type="application/json" id="figure-{number}">{json.dumps(figure).replace("<", chr(92) + "u003c")}</script>'
            for number, figure in enumerate(self.figures, start=1)
        )
        scripts = (
            f"{data}\n<script>{_plotly()}</script>\n<script>{_asset('report.js')}</script>" if self.figures else ""
        )
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(title)}</title>\n<style>{_asset('report.css')}</style>\n</head>\n<body>\n<main>\n{body}\n"
            "<noscript><p>The charts need JavaScript; every number is in the tables.</p></noscript>\n"
            f"</main>\n{scripts}\n</body>\n</html>\n"
        )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # five megabytes, needed only here

    return str(get_plotlyjs())


def _asset(name: str) -> str:
    return (resources.files("chandler") / "assets" / name).read_text(encoding="utf-8")


def _title(log: RunLog) -> str:
    return log.folder.resolve().name


def _header(log: RunLog) -> str:
    when = f"{datetime.fromtimestamp(log.began, UTC):%d %B %Y}, " if log.began else ""
    return (
        f"<header><p>chandler · run report</p><h1>{escape(_title(log))}</h1>"
        f"<p>{when}{_duration(log.seconds)} of training and validation</p></header>"
    )


def _verdict(log: RunLog, cases: Sequence[ForecastCase], scores: pd.DataFrame) -> str:
    alarm, seen = seen_before(log, cases)
    lines = [*forecast_verdicts(scores, cases), *filter(None, [seen]), *map(stage_verdict, log.stages)]
    if alarm:
        lines = [seen, *(line for line in lines if line != seen)]
    inner = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<section class="verdict{" alarm" if alarm else ""}" aria-label="Verdict">{inner}</section>'


def _forecasts(page: _Page, cases: Sequence[ForecastCase], scores: pd.DataFrame, seed: int) -> str:
    if not cases:
        return ""
    first = cases[0].forecast
    parts = [
        "<h2>Forecasts</h2>",
        f'<p class="sub">{first.horizon} bars ahead, {len(first.paths)} sampled '
        f"path{'s' if len(first.paths) != 1 else ''} each, {escape(_sampling(first))}; the model saw the last "
        f"{len(first.history)} bars before. Both baselines see the same bars and no others.</p>",
    ]
    if not scores.empty:
        walk = "of paths drawn from each symbol's own past returns"
        parts.append('<div class="grid">')
        parts.append(
            _table(
                scores,
                "mae",
                LAST_CLOSE,
                "Mean absolute error of the close",
                "% of the last close; the mean path as a point forecast",
            )
        )
        parts.append(
            _table(
                scores,
                "crps",
                RANDOM_WALK,
                "CRPS of the close",
                f"% of the last close; a random walk {walk}; the last close is a point",
            )
        )
        parts.append("</div>")
        if has_band(scores):
            parts.append(_band_table(scores))
    shown = cases[:MAX_CHARTS]
    if len(cases) > len(shown):
        parts.append(f'<p class="sub">Charts of the first {len(shown)} of {len(cases)} forecasts.</p>')
    parts.append('<div class="grid">')
    for case in shown:
        name = case.forecast.symbol
        caption = f"after {day(case.origin)}"
        if case.truth is None:
            caption += ", what came true is not known yet"
        chart = page.chart(charts.candles(case, seed=seed), f"Candles and forecast of {name}", tall=True)
        parts.append(f"<figure><h3>{escape(name)}</h3><figcaption>{escape(caption)}</figcaption>{chart}</figure>")
    parts.append("</div>")
    return "\n".join(parts)


def _sampling(forecast: Any) -> str:
    rule = forecast.sampling
    kept = f", top-k {rule.top_k}" if rule.top_k else ""
    kept += f", top-p {rule.top_p:g}" if rule.top_p not in (None, 1, 1.0) else ""
    return f"temperature {rule.temperature:g}{kept}, seed {forecast.seed}"


def _table(scores: pd.DataFrame, measure: str, rival: str, title: str, unit: str) -> str:
    """One measure of model and baselines per symbol, and the model's win or loss against `rival`."""
    table = pivot(scores, measure)[[MODEL, LAST_CLOSE, RANDOM_WALK]]
    rows = [(str(symbol), values, "") for symbol, values in table.iterrows()]
    if len(rows) > 1:
        rows.append(("Mean", table.mean(), ' class="mean"'))
    head = "".join(
        f'<th scope="col">{escape(text)}</th>'
        for text in ("Symbol", "Model", "Last close", "Random walk", f"Model vs {rival}")
    )
    body = "".join(
        f'<tr{kind}><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{values[model]:.2f}</td>" for model in table.columns)
        + f"<td>{_mark(values[MODEL], values[rival])}</td></tr>"
        for name, values, kind in rows
    )
    caption = f"<caption><b>{escape(title)}</b><br>{escape(unit)}; lower is better</caption>"
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _mark(ours: float, theirs: float) -> str:
    text = change(ours, theirs)
    kind = text.rsplit(" ", 1)[-1] if text != "equal" else "even"
    return f'<span class="mark {kind}">{text}</span>'


def _band_table(scores: pd.DataFrame) -> str:
    inside, steps, width = (pivot(scores, name) for name in ("inside", "steps", "band_width"))
    columns = [(model, label) for model, label in ((MODEL, "Model"), (RANDOM_WALK, "Random walk")) if model in inside]
    head = '<th scope="col">Symbol</th>' + "".join(
        f'<th scope="col">{label}: true closes inside</th><th scope="col">{label}: width, %</th>'
        for _, label in columns
    )

    def row(name: str, kind: str, hits: Any, total: Any, wide: Any) -> str:
        cells = "".join(f"<td>{hits[m]:.0f} of {total[m]:.0f}</td><td>{wide[m]:.1f}</td>" for m, _ in columns)
        return f'<tr{kind}><th scope="row">{escape(name)}</th>{cells}</tr>'

    body = "".join(
        row(str(symbol), "", inside.loc[symbol], steps.loc[symbol], width.loc[symbol]) for symbol in inside.index
    )
    if len(inside) > 1:
        body += row("All", ' class="mean"', inside.sum(), steps.sum(), width.mean())
    caption = (
        f"<caption><b>The {BAND:.0%} band</b><br>a calibrated band holds {BAND:.0%} of many independent closes, and the "
        "narrower of two such bands is the better one; width in % of the last close</caption>"
    )
    return f'<h3></h3><div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _training(page: _Page, log: RunLog) -> str:
    rows, figures = [], []
    for stage in log.stages:
        if stage.ran:
            rows += _stage_rows(stage)
        if stage.validation:
            figures.append(_loss_figure(page, stage))
    if not rows and not figures:
        return "<h2>Training</h2><p>No stage was trained in this run.</p>"
    parts = ["<h2>Training</h2>"]
    if rows:
        columns = ("Validation measure", "Step 0", "Best", "Best against step 0", "At step", "Steps", "Time")
        head = "".join(f'<th scope="col">{text}</th>' for text in columns)
        caption = (
            "<caption><b>Step 0 against best</b><br>lower is better; the first measure of each stage chooses the checkpoint, "
            "the others are its values there</caption>"
        )
        parts.append(
            f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        )
    parts.append(f'<div class="grid">{"".join(figures)}</div>')
    return "\n".join(parts)


def _stage_rows(stage: StageLog) -> list[str]:
    best_step = int(stage.outcome["best_step"])
    before, best = stage.at(0), stage.at(best_step)
    rows = []
    for number, name in enumerate(key for key in before if key in MEASURES or key == stage.outcome["measure"]):
        label = MEASURES.get(name, name)
        text = f"{stage.name.capitalize()}: {label}" if number == 0 else f"&emsp;{label}"
        rest = (
            (f"{best_step:,}", f"{stage.outcome['steps']:,}", _duration(stage.outcome["seconds"]))
            if number == 0
            else ("", "", "")
        )
        if name not in best:
            continue
        cells = [digits(before[name]), digits(best[name]), _mark(best[name], before[name]), *rest]
        rows.append(f'<tr><th scope="row">{text}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return rows


def _loss_figure(page: _Page, stage: StageLog) -> str:
    """The curve of the selecting measure; training's line is in the same unit where the log has it."""
    measure = stage.outcome.get("measure") or ("mse" if "mse" in stage.validation[0] else "nll")
    alike = {"mse": ("mse",), "nll": ("ce_s1", "ce_s2")}.get(measure, ("loss",))
    train = [
        (int(r["step"]), float(sum(r[key] for key in alike))) for r in stage.train if all(key in r for key in alike)
    ]
    validation = [(int(r["step"]), float(r[measure])) for r in stage.validation if measure in r]
    best_step = min(validation, key=lambda pair: pair[1])[0] if validation else 0
    figure = charts.losses(train, validation, best_step, unit=MEASURES.get(measure, measure), log=measure == "mse")
    how = {
        "mse": "Logarithmic axis. Training: mean over the batches since the last record.",
        "nll": "Training has dropout on and, unless set otherwise, conditions s2 on a sampled s1; validation has neither.",
    }.get(measure, "")
    chart = page.chart(figure, f"Loss curves of the {stage.name}")
    return f"<figure><h3>{escape(stage.name.capitalize())}</h3><figcaption>{escape(how)}</figcaption>{chart}</figure>"


def _what_ran(log: RunLog, cases: Sequence[ForecastCase]) -> str:
    data, settings = log.summary.get("data", {}), log.config.get("data") or {}
    facts: list[tuple[str, str]] = []
    if data:
        facts.append(("Symbols", f"{data['symbols']:,}"))
        facts.append(("Bars", f"{data['rows']:,}"))
        for name, label in (("train", "Training"), ("val", "Validation")):
            part = data["splits"].get(name)
            if part:
                span = f"{day(pd.Timestamp(part['first']))} to {day(pd.Timestamp(part['last']))}"
                facts.append((label, f"{span}; {part['rows']:,} bars, {part['windows']:,} windows"))
    scored = [case for case in cases if case.truth is not None]
    if scored:
        first, last = min(c.forecast.timestamps[0] for c in scored), max(c.forecast.timestamps[-1] for c in scored)
        facts.append(("Forecast test", f"{day(first)} to {day(last)}; {len(scored)} forecasts"))
    if settings:
        facts.append(("Window", f"{settings.get('lookback')} bars of lookback, {settings.get('horizon')} of horizon"))
    for stage in log.stages:
        facts.append((stage.name.capitalize(), _architecture(stage)))
        if stage.ran:
            o, s = stage.outcome, stage.settings
            facts.append(
                (
                    f"{stage.name.capitalize()} training",
                    f"{o['epochs']} epoch{'s' if o['epochs'] != 1 else ''}, {o['steps']:,} steps of "
                    f"{s.get('batch_size', '?')} windows per device, peak learning rate {s.get('learning_rate')}, {_duration(o['seconds'])}"
                    + (", stopped early" if o.get("stopped_early") else ""),
                )
            )
    facts.append(("Seed", str(log.config.get("seed", ""))))
    versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "numpy", "pandas"))
    facts.append(
        (
            "Versions",
            f"chandler {log.summary.get('chandler', '?')}; at the time of this page Python {platform.python_version()}, {versions}",
        )
    )
    details = _facts(_flat(log.config))
    return f"<h2>What ran</h2>{_facts(facts)}<details><summary>All settings</summary>{details}</details>"


def _architecture(stage: StageLog) -> str:
    model, start = stage.model, _short(stage.settings.get("start", "?"))
    if not model:
        return f"from {start}; no result"
    count = stage.outcome.get("parameters")
    layers = model.get("n_layers") or f"{model.get('n_enc_layers', 1) - 1} + {model.get('n_dec_layers', 1) - 1}"
    size = f"{count:,} parameters, " if count else ""
    origin = "random weights" if stage.random_start else start
    return (
        f"from {origin}; {size}{layers} layers, width {model.get('d_model')}, {model.get('n_heads')} heads, "
        f"{model.get('s1_bits')} + {model.get('s2_bits')} bits"
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in pairs)
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            values = value if isinstance(value, list) else [value]
            pairs.append((f"{prefix}{key}", ", ".join("-" if one is None else str(_short(one)) for one in values)))
    return pairs


def _short(value: Any) -> Any:
    """An absolute path as its last part: a page that is passed on need not tell where its writer keeps things."""
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


def _notes(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    about = "Written by chandler. This file is complete in itself: it loads nothing from anywhere."
    return f"<h2>What this does not show</h2><ul>{items}</ul><footer>{about}</footer>"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _write_whole(path: Path, text: str) -> None:
    """Write beside, then rename: a reader never sees half a page."""
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
