"""The tables of a run's report: step 0 against best. A loss is marked like a win."""

from __future__ import annotations

from chandler.measures import higher_is_better
from chandler.reports.render import table
from chandler.reports.verdicts import MEASURES, change, digits
from chandler.training.runs.history import RunHistory, StageHistory


def stage_table(log: RunHistory) -> str:
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


def _stage_rows(stage: StageHistory) -> list[tuple[str, list[str]]]:
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
    if higher_is_better(name):
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
