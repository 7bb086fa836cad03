"""The report's tables: errors beside the baselines', the band, step 0 against best. A loss is marked like a win."""

from __future__ import annotations

from typing import Any

import pandas as pd

from chandler.evaluation.page import table
from chandler.evaluation.runlog import RunLog, StageLog
from chandler.evaluation.scoring import BAND, LAST_CLOSE, MODEL, RANDOM_WALK, pivot
from chandler.evaluation.verdicts import HIGHER_IS_BETTER, MEASURES, change, digits


def error_table(scores: pd.DataFrame, measure: str, rival: str, title: str, how: str) -> str:
    """One measure of model and baselines per symbol, and the model's win or loss against `rival`."""
    found = pivot(scores, measure)[[MODEL, LAST_CLOSE, RANDOM_WALK]]
    values = [(str(symbol), found.loc[symbol]) for symbol in found.index]
    several = len(values) > 1
    if several:
        values.append(("Mean", found.mean()))
    head = ["Symbol", "Model", "Last close", "Random walk", f"vs {rival}"]
    rows = [(name, [*(f"{value:.2f}" for value in row), mark(change(row[MODEL], row[rival]))]) for name, row in values]
    return table(f"<b>{title}</b><br>{how}", [head], rows, summary=several)


def band_table(scores: pd.DataFrame) -> str:
    """How many true closes the bands of model and random walk held, and how wide they were."""
    inside, steps, width = (pivot(scores, name)[[MODEL, RANDOM_WALK]] for name in ("inside", "steps", "band_width"))

    def cells(hits: Any, total: Any, wide: Any) -> list[str]:
        pairs = [(f"{hits[m]:.0f} of {total[m]:.0f}", f"{wide[m]:.1f}") for m in inside]
        return [cell for pair in pairs for cell in pair]

    rows = [(str(symbol), cells(inside.loc[symbol], steps.loc[symbol], width.loc[symbol])) for symbol in inside.index]
    several = len(rows) > 1
    if several:
        rows.append(("All", cells(inside.sum(), steps.sum(), width.mean())))
    caption = (
        f"<b>The {BAND:.0%} band of the close</b><br>A calibrated band holds {BAND:.0%} of many independent closes; of "
        "two such bands the narrower is better. Width in % of the last close."
    )
    head = [["", "Model|2", "Random walk|2"], ["Symbol", "Inside", "Width", "Inside", "Width"]]
    return table(caption, head, rows, summary=several)


def stage_table(log: RunLog) -> str:
    """Step 0 against the best checkpoint, all validation measures; empty if no stage's training is on record."""
    rows = [row for stage in log.stages if stage.known for row in _stage_rows(stage)]
    if not rows:
        return ""
    head = ["Validation measure", "Step 0", "Best", "Best vs step 0", "At step", "Of steps", "Time"]
    caption = (
        "<b>Step 0 against best</b><br>Lower is better, of RankIC higher. The first measure of each stage chooses the checkpoint; the "
        "others are its values there."
    )
    return table(caption, [head], rows)


def _stage_rows(stage: StageLog) -> list[tuple[str, list[str]]]:
    best_step, chosen = int(stage.outcome["best_step"]), stage.outcome["measure"]
    before, best = stage.at(0), stage.at(best_step)
    rows = []
    for name in (key for key in before if key in best and (key in MEASURES or key == chosen)):
        ours, theirs = best[name], before[name]
        cells = [digits(theirs), digits(ours), mark(_gain(name, ours, theirs))]
        label = MEASURES.get(name, name)
        if name == chosen:
            label = f"{stage.name.capitalize()}: {label}"
            cells += [f"{best_step:,}", f"{stage.outcome['steps']:,}", duration(stage.outcome["seconds"])]
        else:
            label, cells = f"\u2003{label}", [*cells, "", "", ""]
        rows.append((label, cells))
    return rows


def _gain(name: str, ours: float, theirs: float) -> str:
    """A share of an error; of a log-likelihood, whose zero means nothing, the difference in nats; of RankIC as well."""
    if name in HIGHER_IS_BETTER:
        return "equal" if ours == theirs else f"{digits(abs(ours - theirs))} {'better' if ours > theirs else 'worse'}"
    if not name.startswith("nll") or ours == theirs:
        return change(ours, theirs)
    return f"{digits(abs(ours - theirs))} nats {'better' if ours < theirs else 'worse'}"


def mark(text: str) -> str:
    """A win or a loss, equally loud; told apart by the word, and by blue and orange."""
    kind = text.rsplit(" ", 1)[-1]
    return f'<span class="mark {kind}">{text}</span>'


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s"; 7500 -> "2 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
