"""An evaluation in plain sentences, for its page and for a terminal: is it better than naive? The words are in
templates/evaluation.txt.j2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chandler.evaluation.walk_forward import CALIBRATED, QUESTIONS, SAYS, ComparisonSpec, Results
from chandler.measures import Comparison
from chandler.reports.render import Pairs, ToldVerdict, day, number, sentence, sentences, shares
from chandler.text import count

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


@dataclass(frozen=True)
class ComparisonResult:
    """One question about one model, against naive and against the baseline that did best at it, by their spoken names."""

    model: str
    question: ComparisonSpec
    naive: str
    against_naive: Comparison
    best: str
    against_best: Comparison


@dataclass(frozen=True)
class Bands:
    """Share of the closes inside a model's band, with its interval, before and after calibration (None: there is none)."""

    model: str
    level: float
    covered: tuple[float, float, float]
    width: float
    calibrated: tuple[float, float, float] | None
    calibrated_width: float
    same_period: bool
    """Whether the calibration was fitted on bars of this very period."""


def evaluation_text(results: Results) -> str:
    """The headline and a table: losses, the distribution against naive with its interval, what the 90% band covered."""
    lines = [f"Left out within this period when the bars were read: {one}." for one in lacking(results)]
    table = evaluation_table(results).to_string()
    return "\n".join([headline(results, judge(results)), "", table, unit(results), *lines])


def unit(results: Results) -> str:
    """What the table is in."""
    ahead = f"{'' if results.horizon == 1 else 'mean of '}{count(results.horizon, 'bar')} ahead"
    return f"CRPS and MAE of the close in % of the last close, {ahead}; lower is better."


def evaluation_table(results: Results) -> pd.DataFrame:
    """A row of words for each contender that forecasts prices."""
    naive = results.naive(QUESTIONS[0])
    rows = {}
    for name in filter(results.prices, [*results.models, *results.baselines]):
        losses = results.losses(name)
        row = {label: number(results.mean(losses[label.lower()])) for label in ("CRPS", "MAE", "QLIKE")}
        if naive:
            row[f"CRPS vs {display_name(naive)}"] = "" if name == naive else _against(results, name, naive)
        row[f"{BAND:.0%} band covers"] = f"{results.coverage(name, BAND)[0]:.1%}" if results.spreads(name) else "-"
        rows[display_name(name)] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def evaluation_verdict(results: Results) -> ToldVerdict:
    """What a terminal and the page say."""
    judged = judge(results)
    return ToldVerdict(
        headline(results, judged), verdict_lines(results, judged), evaluation_table(results), unit(results)
    )


def lacking(results: Results) -> list[str]:
    """What reading left out of the bars within the period of an evaluation."""
    records = results.state.get("reading", ())
    return [one["said"] for one in records if one["kind"] == "dropped" and one["here"]]


def _against(results: Results, model: str, naive: str) -> str:
    """+7.4% (+2.5 to +13), worse"""
    c = results.compare(model, naive, "crps")
    middle, low, high = shares(c)
    span = f" ({low:+.1f} to {high:+.1f})" if np.isfinite(low) else ""
    return f"{f'{middle:+.1f}%' if np.isfinite(middle) else '-'}{span}, {c.verdict}"


def judge(results: Results) -> list[ComparisonResult]:
    """Every question about every model, and about its calibrated twin."""
    found = []
    for model in results.models:
        for question in QUESTIONS:
            naive, rivals = results.naive(question), results.rivals(question.loss)
            if naive is None or not np.isfinite(results.losses(model)[question.loss]).any():
                continue
            best = min(rivals, key=lambda rival: results.mean(results.losses(rival)[question.loss]))
            first, second = (results.compare(model, rival, question.loss) for rival in (naive, best))
            found.append(ComparisonResult(model, question, display_name(naive), first, display_name(best), second))
    return found


def headline(results: Results, judged: Sequence[ComparisonResult], called: Mapping[str, str] | None = None) -> str:
    """The page in a few words: what each model is better at than naive, worse at, and what is not shown; `called`: of
    these models alone, by these names."""
    called = {name: name for name in results.models} if called is None else called
    models = []
    for model in called:
        own = [(one.against_naive, one.question.title) for one in judged if one.model == model]
        titles = {c.verdict: [title for other, title in own if other.verdict == c.verdict] for c, _ in own}
        models.append((called[model], titles, own[0][0].origins if own else 0))
    return sentence("evaluation", "headline", models)


def verdict_lines(results: Results, judged: Sequence[ComparisonResult]) -> Pairs:
    """(about, sentence) pairs: what was seen before, every question, models against each other, bands, weight."""
    models = results.raw_models
    facts = {
        "several": len(results.models) > 1,
        "marked": marked(results),
        "judged": judged,
        "between": [(other, models[0], _between(results, other, models[0])) for other in models[1:]],
        "points": _points(results),
        "bands": [bands_of(results, model) for model in models if results.spreads(model)],
        "lacking": lacking(results),
        "weight": weight_of(results),
    }
    return sentences("evaluation", "lines", facts)


def _points(results: Results) -> list[str]:
    """Baselines that forecast prices where none of them is a distribution that a model's can be held against."""
    if not results.models or results.naive(QUESTIONS[0]):
        return []
    return [display_name(name) for name in results.rivals(QUESTIONS[0].loss)]


def weight_of(results: Results) -> dict[str, int]:
    """How much evidence there is."""
    return {
        "windows": results.state["windows"],
        "symbols": results.state["symbols"],
        "origins": len(np.unique(results.rounds)),
        "independent": results.independent(),
    }


def _between(results: Results, model: str, other: str) -> list[tuple[str, Comparison]]:
    """One model against another, by each question that both answer."""
    return [
        (question.title, results.compare(model, other, question.loss))
        for question in QUESTIONS
        if all(np.isfinite(results.losses(one)[question.loss]).any() for one in (model, other))
    ]


def bands_of(results: Results, model: str) -> Bands:
    """What a model's band covered, and its calibrated twin's."""
    twin = model + CALIBRATED if model + CALIBRATED in results.names else None
    return Bands(
        model,
        BAND,
        results.coverage(model, BAND),
        results.width(model, BAND),
        None if twin is None else results.coverage(twin, BAND),
        0.0 if twin is None else results.width(twin, BAND),
        results.calibrated_here(model),
    )


def display_name(name: str) -> str:
    """A contender's name as the report writes it."""
    return SPOKEN.get(name, name)


def period(results: Results) -> str:
    """1 Jan 2024 to 30 Jun 2024"""
    return f"{day(results.state['first'])} to {day(results.state['last'])}"


def marked(results: Results) -> Pairs:
    """(model, sentence) of windows that are not clean."""
    lines, total = [], int(results.state["windows"])
    for model in results.raw_models:
        for mark, windows in results.marks(model).items():
            which = "all windows" if windows == total else f"{windows:,} of {total:,} windows"
            lines.append((model, f"{which}: {SAYS[mark]}."))
    return lines
