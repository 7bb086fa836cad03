"""Says in plain sentences how a run went. A loss gets the same words as a win; what proves nothing is called so."""

from __future__ import annotations

import pandas as pd

from chandler.measures import higher_is_better
from chandler.training.runs.history import RunHistory, StageHistory, short

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


def digits(value: float) -> str:
    """Four significant digits: 4.880, 0.05375, 1,234."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def headline(log: RunHistory) -> str:
    """The page in one sentence: the stages against their starts."""
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


def stage_verdict(stage: StageHistory) -> str:
    """Whether a stage beat its starting weights."""
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
        other = "higher" if higher_is_better(outcome["measure"]) else "lower"
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
    return text + warning


def caveats(log: RunHistory) -> list[str]:
    """What the page does not show."""
    lines = [
        "No forecast was scored here. A lower validation loss is not yet a better forecast: chandler evaluate holds "
        "forecasts of later bars against what came true, beside the untouched weights and naive forecasts.",
        "One seed: another one gives other weights and other numbers. The scatter between seeds was not measured.",
    ]
    if any(not stage.random_start and stage.ran for stage in log.stages):
        lines.append(
            "The run began with pretrained weights. Whether their training data held the bars validated here cannot be seen "
            "from this folder."
        )
    return lines


def day(moment: pd.Timestamp) -> str:
    """A date, with the time if it has one: 14 Feb 2013."""
    text = f"{moment.day} {moment:%b %Y}"
    return text if moment == moment.normalize() else f"{text} {moment:%H:%M}"


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


def _start(stage: StageHistory) -> str:
    return short(stage.outcome.get("start", stage.settings.get("start", "its start")))
