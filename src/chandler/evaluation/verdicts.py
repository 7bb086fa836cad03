"""Says in plain sentences how a run went. A loss gets the same words as a win; what proves nothing is called so."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from chandler.evaluation.runlog import RunLog, StageLog, short
from chandler.evaluation.scoring import BAND, LAST_CLOSE, MODEL, RANDOM_WALK, Duel, ForecastCase, pivot

Reference = tuple[str, float]
"""What a measure comes to without a model: a name that begins a sentence, and the value."""

MEASURES = {
    "mse": "reconstruction error (MSE)",
    "mse_s1": "reconstruction error from the coarse token alone",
    "nll": "negative log-likelihood, nats per bar",
    "nll_s1": "of which the coarse token (s1)",
    "nll_s2": "of which the fine token (s2)",
    "nll_horizon": "negative log-likelihood, nats per horizon bar",
    "crps": "CRPS of forecast closes, % of the last close",
    "rank_ic": "RankIC of forecast returns, to be high",
}
HIGHER_IS_BETTER = frozenset({"rank_ic"})
"""Validation measures that are to rise."""


def digits(value: float) -> str:
    """Four significant digits: 4.880, 0.05375, 1,234."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def headline(log: RunLog, scores: pd.DataFrame) -> str:
    """The page in one sentence: the forecasts against the baselines, or the stages against their starts."""
    if not scores.empty:
        outcomes = {}
        for rival, measure in ((LAST_CLOSE, "mae"), (RANDOM_WALK, "crps")):
            table = pivot(scores, measure)
            outcomes[f"the {rival}"] = change(float(table[MODEL].mean()), float(table[rival].mean()))
        won = [rival for rival, text in outcomes.items() if text.endswith("better")]
        if len(won) == 2:
            return "On average the forecasts beat both the last close and the random walk here."
        if won:
            other = next(rival for rival in outcomes if rival not in won)
            return f"On average the forecasts beat {won[0]} here, but not {other}."
        return "On average the forecasts beat neither the last close nor the random walk here."
    ran = [stage for stage in log.stages if stage.ran]
    improved = [stage.name for stage in ran if stage.status == "improved"]
    if not ran:
        return "No stage was trained in this run."
    if len(improved) == len(ran):
        names = " and the ".join(improved)
        return f"The {names} beat {'their' if len(ran) > 1 else 'its'} starting weights in validation."
    kept = " and the ".join(stage.name for stage in ran if stage.status != "improved")
    rest = f", the {improved[0]} did" if improved else ""
    return f"The {kept} did not beat {'the' if len(ran) - len(improved) > 1 else 'its'} starting weights{rest}."


def stage_verdict(stage: StageLog, reference: Reference | None = None) -> str:
    """Whether a stage beat its starting weights, and a simple reference if one was measured."""
    outcome = stage.outcome
    if stage.status == "off":
        return f"Switched off{f'; {_start(stage)} was used as it is' if outcome.get('start') else ''}."
    if stage.status == "unfinished":
        return "Not finished: nothing can be said about it."
    if not stage.known:
        return "Not trained in this run: the folder had its result already, and how it came about is not recorded."
    earlier = "Trained in an earlier run. " if outcome.get("reused") else ""
    measure = MEASURES.get(outcome["measure"], outcome["measure"])
    before, best = float(outcome["start_score"]), float(outcome["best"])
    warning = f" Warning: {outcome['warning']}." if outcome.get("warning") else ""
    if stage.status == "kept_start":
        other = "higher" if outcome["measure"] in HIGHER_IS_BETTER else "lower"
        return (
            f"{earlier}Did not beat its starting weights: no checkpoint had a {other} validation {measure} than the "
            f"{digits(before)} of step 0. The starting weights were kept; the training of this stage was of no "
            f"use.{warning}"
        )
    text = (
        f"{earlier}Beat its starting weights: validation {measure} {digits(before)} at step 0, {digits(best)} at its "
        f"best (step {outcome['best_step']:,})."
    )
    if stage.random_start:
        text += " These were random, so that says only that it learns."
    if reference is not None and outcome["measure"] in ("mse", "nll"):
        text += f" {reference[0]} would score {digits(reference[1])}."
    return text + warning


def forecast_verdicts(scores: pd.DataFrame, cases: Sequence[ForecastCase]) -> list[tuple[str, str]]:
    """(about, sentence) pairs: whether the forecasts beat the baselines, counted per symbol; empty without a score."""
    if scores.empty:
        return []
    point, spread = Duel.of(scores, "mae", LAST_CLOSE), Duel.of(scores, "crps", RANDOM_WALK)
    lines = [
        (
            "Last close",
            f"The mean forecast was {_counted(point, 'closer', 'farther off')}. "
            f"Mean absolute error over the symbols: {_means(scores, 'mae', LAST_CLOSE)}.",
        ),
        (
            "Random walk",
            f"Against paths drawn from each symbol's own past returns, the forecast distribution was "
            f"{_counted(spread, 'better', 'worse')}. Mean CRPS: {_means(scores, 'crps', RANDOM_WALK)}.",
        ),
    ]
    if has_band(scores):
        hits, steps = (int(pivot(scores, name)[MODEL].sum()) for name in ("inside", "steps"))
        lines.append(
            (
                f"{BAND:.0%} band",
                f"{hits} of {steps} true closes ({hits / steps:.0%}) fell inside; a calibrated band holds about {BAND:.0%}.",
            )
        )
    return [*lines, ("Weight", origins(cases))]


def has_band(scores: pd.DataFrame) -> bool:
    """Whether the model's forecasts have more than one path."""
    return bool(((scores["model"] == MODEL) & (scores["measure"] == "inside")).any())


def origins(cases: Sequence[ForecastCase]) -> str:
    """What so many forecasts from so many origins can prove."""
    scored = [case for case in cases if case.truth is not None]
    dates = sorted({str(case.origin) for case in scored})
    count = f"{len(scored)} forecast" + ("s" if len(scored) != 1 else "")
    if len(dates) == 1:
        together = (
            ": the same days and the same market moved all of them, which makes them nearer to one observation than to "
            f"{len(scored)}"
            if len(scored) > 1
            else ""
        )
        return (
            f"{count} from one origin ({day(scored[0].origin)}) prove{'s' if len(scored) == 1 else ''} nothing, "
            f"neither skill nor its absence{together}. Judge a model by many origins."
        )
    return f"{count} from {len(dates)} origins: neighbouring ones share their days, so they count for less than {len(scored)}."


def seen_before(log: RunLog, cases: Sequence[ForecastCase]) -> tuple[bool, str]:
    """Whether any scored bar lies in the training or validation span, and the sentence that says so."""
    splits = log.summary.get("data", {}).get("splits", {})
    scored = [case for case in cases if case.truth is not None]
    if not splits or not scored:
        return False, ""
    last = {name: pd.Timestamp(part["last"]) for name, part in splits.items()}
    first = min(_utc(case.forecast.timestamps[0]) for case in scored)
    ends = " and ".join(f"{_WORDS.get(name, name)} ({day(end)})" for name, end in last.items())
    if any(first <= end for end in last.values()):
        return True, (
            f"The forecasts begin on {day(first)}, before the end of {ends}: these bars helped to fit or to choose "
            "the model, and their errors say nothing about unseen data."
        )
    return False, (
        f"Every scored bar (from {day(first)}) comes after the last bar of {ends}: neither the weights nor the choice of "
        "the checkpoint has seen any of them."
    )


_WORDS = {"train": "training", "val": "validation"}


def caveats(log: RunLog, cases: Sequence[ForecastCase]) -> list[str]:
    """What was not tested, as far as it follows from the run."""
    lines = []
    if any(case.truth is not None for case in cases):
        lines += [
            "Only the close was scored. Open, high, low, volume and amount were forecast too, and may be better or worse.",
            "The band is meant bar by bar. That a whole path stays inside it is less likely, and was not tested.",
            "Lower error is not profit: there is no trading, no cost and no position here.",
            "The random walk draws from the bars that the model saw and no others, to compare like with like. Returns of a "
            "longer past would often make it a stronger baseline.",
        ]
        times = {case.forecast.calendar for case in cases}
        if times == {"given"}:
            lines.append(
                "The forecasts were given the true dates of the bars to come. Exchange holidays are published ahead, so "
                "this gives nothing away on a regular calendar; an unplanned closure would be known too early."
            )
        elif "given" not in times:
            source = (
                "inferred from the history" if times == {"inferred"} else f"worked out ({', '.join(sorted(times))})"
            )
            lines.append(f"The dates of the bars to come were {source}; bars at other times were not scored.")
    elif cases:
        lines.append("The forecasts have no truth to be held against yet: nothing here says how good they are.")
    else:
        lines.append(
            "No forecast was scored. A lower validation loss is not yet a better forecast: "
            "forecast bars after the validation part and hold them against what came true."
        )
    lines.append(
        "One seed: another one gives other weights and other numbers. The scatter between seeds was not measured."
    )
    if any(not stage.random_start and stage.ran for stage in log.stages):
        lines.append(
            "The run began with pretrained weights. Whether their training data held the bars scored or validated here "
            "cannot be seen from this folder."
        )
    return lines


def day(moment: pd.Timestamp) -> str:
    """A date, with the time if it has one: 14 Feb 2013."""
    text = f"{moment.day} {moment:%b %Y}"
    return text if moment == moment.normalize() else f"{text} {moment:%H:%M}"


def _utc(moment: pd.Timestamp) -> pd.Timestamp:
    return moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)


def _counted(duel: Duel, won: str, lost: str) -> str:
    """closer for 2 of 5 symbols (AAPL, IBM) and farther off for 3 (FB, GOOG, MSFT)"""
    total = len(duel)
    parts: list[str] = []
    for word, names in ((won, duel.wins), (lost, duel.losses), ("equally good", duel.ties)):
        if names or word != "equally good":
            of = f" of {total} symbol{'s' if total != 1 else ''}" if not parts else ""
            listed = f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""
            parts.append(f"{word} for {len(names)}{of}{listed}")
    return parts[0] + " and " + parts[1] if len(parts) == 2 else ", ".join(parts)


def _means(scores: pd.DataFrame, measure: str, rival: str) -> str:
    """2.31% against 2.10% of the last close, 10% worse"""
    table = pivot(scores, measure)
    ours, theirs = float(table[MODEL].mean()), float(table[rival].mean())
    return f"{ours:.2f}% against {theirs:.2f}% of the last close, {change(ours, theirs)}"


def change(ours: float, theirs: float) -> str:
    """How much lower an error is than another: "12% better", "8% worse", "equal"."""
    if ours == theirs:
        return "equal"
    if theirs == 0:
        return "worse"
    if abs(ours / theirs - 1) < 0.0005:
        return "equal"
    share = abs(ours / theirs - 1)
    shown = f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"
    return f"{shown} {'better' if ours < theirs else 'worse'}"


def _start(stage: StageLog) -> str:
    return short(stage.outcome.get("start", stage.settings.get("start", "its start")))
