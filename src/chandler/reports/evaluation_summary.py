"""An evaluation in plain sentences, for its page and for a terminal: is it better than naive? A loss gets the same words
as a win, and where nothing is shown it says that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chandler.evaluation.walk_forward.contamination import SAYS
from chandler.evaluation.walk_forward.forecasters import CALIBRATED
from chandler.evaluation.walk_forward.results import QUESTIONS, ComparisonSpec, Results
from chandler.measures.significance import Comparison
from chandler.reports.render import day

BAND = 0.9
"""The band whose coverage is told in words."""
SPOKEN: Mapping[str, str] = {
    "last_close": "last close",
    "bootstrap": "bootstrapped walk",
    "gaussian_walk": "Gaussian walk",
    "ewma": "EWMA walk",
    "garch": "GARCH(1,1)",
    "dlinear": "DLinear",
    "volume_by_time_of_day": "usual volume",
}
"""Baselines as the report calls them."""


def display_name(name: str) -> str:
    """A contender's name as the report writes it."""
    return SPOKEN.get(name, name)


@dataclass(frozen=True)
class ComparisonResult:
    """One question about one model, against naive and against the baseline that did best at it."""

    model: str
    question: ComparisonSpec
    naive: str
    against_naive: Comparison
    best: str
    against_best: Comparison


def evaluation_text(results: Results) -> str:
    """The headline and a table: losses, the distribution against naive with its interval, what the 90% band covered."""
    naive = results.naive(QUESTIONS[0])
    against = f"CRPS vs {display_name(naive)}" if naive else ""
    rows = {}
    for name in [*results.models, *results.baselines]:
        if not results.prices(name):
            continue
        losses = results.losses(name)
        row = {
            label: cell(results.mean(losses[key]))
            for key, label in {"crps": "CRPS", "mae": "MAE", "qlike": "QLIKE"}.items()
        }
        if naive:
            row[against] = "" if name == naive else _against(results, name, naive)
        row[f"{BAND:.0%} band covers"] = f"{results.coverage(name, BAND)[0]:.1%}" if results.spreads(name) else "-"
        rows[display_name(name)] = row
    table = pd.DataFrame.from_dict(rows, orient="index").to_string()
    unit = f"CRPS and MAE of the close in % of the last close, mean of {results.horizon} bars ahead; lower is better."
    return f"{headline(results, judge(results))}\n\n{table}\n{unit}"


def _against(results: Results, model: str, naive: str) -> str:
    """+7.4% (+2.5 to +13), worse"""
    c = results.compare(model, naive, "crps")
    scale = c.mean_b / 100
    span = f" ({c.low / scale:+.1f} to {c.high / scale:+.1f})" if np.isfinite(c.low) else ""
    return f"{c.difference / scale:+.1f}%{span}, {c.verdict}"


def judge(results: Results, models: Sequence[str] | None = None) -> list[ComparisonResult]:
    """Every question about every model (those given, or all but the twins)."""
    found = []
    for model in results.raw_models if models is None else models:
        for question in QUESTIONS:
            naive, rivals = results.naive(question), results.rivals(question.loss)
            if naive is None or not np.isfinite(results.losses(model)[question.loss]).any():
                continue
            best = min(rivals, key=lambda rival: results.mean(results.losses(rival)[question.loss]))
            first = results.compare(model, naive, question.loss)
            second = first if best == naive else results.compare(model, best, question.loss)
            found.append(ComparisonResult(model, question, naive, first, best, second))
    return found


def headline(results: Results, judged: Sequence[ComparisonResult]) -> str:
    """The page in a few words: what each model is better at than naive, worse at, and what is not shown."""
    if not results.raw_models:
        return "No model was evaluated: these are the baselines alone."
    sentences = []
    for model in results.raw_models:
        own = [one for one in judged if one.model == model]
        groups = {
            verdict: [one.question.title for one in own if one.against_naive.verdict == verdict]
            for verdict in ("better", "worse", "no difference shown", "too few origins")
        }
        if not own:
            sentences.append(f"{model} was held against no baseline.")
            continue
        if len(groups["too few origins"]) == len(own):
            count = own[0].against_naive.origins
            sentences.append(f"{model}: {count} origin{'s' if count != 1 else ''} cannot show a difference from naive.")
            continue
        parts = [
            f"is better than naive at {_listed(groups['better'])}" if groups["better"] else "beats naive at nothing"
        ]
        if groups["worse"]:
            parts.append(f"is worse at {_listed(groups['worse'])}")
        if groups["no difference shown"]:
            parts.append(f"shows no difference at {_listed(groups['no difference shown'])}")
        sentences.append(f"{model} {_listed(parts)}.")
    return " ".join(sentences)


def verdict_lines(results: Results, judged: Sequence[ComparisonResult]) -> list[tuple[str, str]]:
    """(about, sentence) pairs: what was seen before, every question, models against each other, bands, weight."""
    several = len(results.raw_models) > 1
    lines = [(f"{model}: seen?", text[0].upper() + text[1:]) for model, text in marked(results)]
    for one in judged:
        about = f"{one.model}, {one.question.title}" if several else one.question.title.capitalize()
        lines.append((about, comparison_sentence(one)))
    first = results.raw_models[:1]
    lines += [
        (f"{model} against {one}", between(results, model, one)) for one in first for model in results.raw_models[1:]
    ]
    for model in results.raw_models:
        if results.spreads(model):
            lines.append((f"{model}, bands" if several else "Bands", calibration_answer(results, model)))
    return [*lines, ("Weight", weight(results))]


def comparison_sentence(one: ComparisonResult) -> str:
    """Question and answer in one sentence or two."""
    c, measure = one.against_naive, one.question.unit.split(",")[0]
    text = f"{_verdict(c, one.naive)}: {measure} {number(c.mean_a)} against {number(c.mean_b)}, {span(c)}."
    if one.best != one.naive:
        b = one.against_best
        text += f" Against the best baseline at this, the {display_name(one.best)} ({number(b.mean_b)}): "
        text += f"{b.verdict}, {span(b)}."
    return text[0].upper() + text[1:]


def between(results: Results, model: str, other: str) -> str:
    """One model against another, question by question."""
    parts = []
    for question in QUESTIONS:
        if all(np.isfinite(results.losses(name)[question.loss]).any() for name in (model, other)):
            c = results.compare(model, other, question.loss)
            parts.append(f"{question.title} {c.verdict}, {span(c)}")
    text = "; ".join(parts) or "nothing to compare"
    return f"{text[0].upper()}{text[1:]}."


def _verdict(c: Comparison, rival: str) -> str:
    if c.verdict == "too few origins":
        return f"too few origins ({c.origins}) to tell it from the {display_name(rival)}"
    return f"{c.verdict} {'than' if c.verdict in ('better', 'worse') else 'from'} the {display_name(rival)}"


def span(c: Comparison) -> str:
    """4.2% lower (95% interval: 7.5% to 1.0% lower)"""
    middle, low, high = (
        value / c.mean_b * 100 if c.mean_b else float("nan") for value in (c.difference, c.low, c.high)
    )
    if not np.isfinite([middle, low, high]).all():
        return f"{_change(middle)}, no interval" if np.isfinite(middle) else "no interval"
    if low < 0 < high:
        return f"{_change(middle)} (95% interval: {_change(low)} to {_change(high)})"
    near, far = sorted((low, high), key=abs)
    text = f"{_change(middle)} (95% interval: {percent(near)} to {_change(far)}"
    # The verdict takes a test besides the interval; where they differ, say so.
    return text + (f"; but Diebold-Mariano p {c.p_value:.2g})" if c.verdict == "no difference shown" else ")")


def percent(share: float) -> str:
    """Without its sign: 4.2%, 150%."""
    return f"{abs(share):.1f}%" if abs(share) < 9.95 else f"{abs(share):,.0f}%"


def _change(share: float) -> str:
    return f"{percent(share)} {'lower' if share < 0 else 'higher'}"


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def cell(value: float | None) -> str:
    """The same, "-" where there is none."""
    return number(float(value)) if value is not None and np.isfinite(value) else "-"


def calibration_answer(results: Results, model: str, level: float = BAND) -> str:
    """What a band covered, before and after calibration."""
    share, low, high = results.coverage(model, level)
    text = f"Its {level:.0%} band covered {share:.1%} of the true closes ({low:.0%} to {high:.0%})"
    twin = model + CALIBRATED
    if twin not in results.names:
        return f"{text}; no calibration was applied."
    after, low, high = results.coverage(twin, level)
    text += (
        f"; calibrated {after:.1%} ({low:.0%} to {high:.0%}), with bands {results.width(twin, level):.1f}% of the last close "
        f"wide instead of {results.width(model, level):.1f}%."
    )
    return (
        f"{text} But the calibration was fitted on bars of this period, which proves nothing."
        if results.calibrated_here(model)
        else text
    )


def weight(results: Results) -> str:
    """How much evidence there is."""
    state, count = results.state, results.independent()
    origins = len(np.unique(results.rounds))
    together = f"{state['windows']:,} windows of {state['symbols']:,} symbol{'s' if state['symbols'] != 1 else ''}"
    text = f"{together} at {origins:,} origin{'s' if origins != 1 else ''}"
    if results.overlap > 1:
        text += f"; neighbouring windows share bars, so about {count:,} of the origins are independent"
    if state["symbols"] > 1:
        text += ". Symbols of one origin share the same days, and are counted as one observation in every interval"
    return text + "."


def period(results: Results) -> str:
    """1 Jan 2024 to 30 Jun 2024"""
    return f"{day(pd.Timestamp(results.state['first']))} to {day(pd.Timestamp(results.state['last']))}"


def marked(results: Results) -> list[tuple[str, str]]:
    """(model, sentence) of windows that are not clean."""
    lines = []
    total = int(results.state["windows"])
    for model in results.raw_models:
        for mark, count in results.marks(model).items():
            which = "all windows" if count == total else f"{count:,} of {total:,} windows"
            lines.append((model, f"{which}: {SAYS[mark]}."))
    return lines


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
