"""The page of a training run: what each stage gained, with the losses told as plainly as the wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chandler.measures import higher_is_better
from chandler.reports import charts
from chandler.reports.render import Chart, Pairs, number, sentences, write, written_with
from chandler.training.runs import RunHistory, StageHistory, flat

MEASURES: Mapping[str, str] = {
    "mse": "reconstruction error (MSE)",
    "mse_s1": "reconstruction error from the coarse token alone",
    "nll": "negative log-likelihood, nats per bar",
    "nll_s1": "of which the coarse token (s1)",
    "nll_s2": "of which the fine token (s2)",
    "nll_horizon": "negative log-likelihood, nats per horizon bar",
    "crps": "CRPS of forecast closes, % of the last close",
    "rank_ic": "RankIC of forecast returns, to be high",
}


@dataclass(frozen=True)
class Measure:
    """A validation measure of a stage at step 0 and at the best checkpoint; `chose` that checkpoint, or did not."""

    stage: StageHistory
    label: str
    before: float
    best: float
    gain: str
    """With better, worse or equal as its last word."""
    chose: bool


@dataclass(frozen=True)
class RunPage:
    """What the page says."""

    name: str
    log: RunHistory
    names: Mapping[str, str]
    """Of measures, in words."""
    higher: Sequence[str]
    """Measures that are to rise."""
    improved: Sequence[str]
    kept: Sequence[str]
    """Names of the stages that ran and beat their start, and of those that did not."""
    measures: Sequence[Measure]
    curves: Sequence[tuple[str, Chart]]
    """Losses of each stage, by the validation measure they are of."""
    ran: Pairs
    settings: Pairs
    pretrained: bool
    """Whether a stage that ran began with weights that know data of their own."""


def write_run_report(run_folder: str | Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all. Stages may be missing, off, kept from an earlier run, or unfinished.

    Raises:
        ConfigError: no run folder, or a file in it that cannot be read.
    """
    log = RunHistory.read(run_folder)
    return write("run", run_page(log), log.folder)


def run_page(log: RunHistory) -> RunPage:
    """What the page will say."""
    ran = [stage for stage in log.stages if stage.ran]
    curves = []
    for stage in log.stages:
        if stage.validation:
            loss = "mse" if "mse" in stage.validation[0] else "nll"
            curves += [_curve(stage, kind) for kind in dict.fromkeys((loss, stage.outcome.get("measure", loss)))]
    return RunPage(
        name=log.folder.resolve().name,
        log=log,
        names=MEASURES,
        higher=[name for name in MEASURES if higher_is_better(name)],
        improved=[stage.name for stage in ran if stage.status == "improved"],
        kept=[stage.name for stage in ran if stage.status != "improved"],
        measures=[one for stage in log.stages if stage.known for one in _measures(stage)],
        curves=curves,
        ran=sentences("run", "ran", log, written_with()),
        settings=flat(log.config),
        pretrained=any(not stage.random_start for stage in ran),
    )


def _measures(stage: StageHistory) -> list[Measure]:
    """Step 0 against the best checkpoint, all validation measures that both have."""
    chosen, before, best = stage.outcome["measure"], stage.at(0), stage.at(int(stage.outcome["best_step"]))
    names = [name for name in before if name in best and (name in MEASURES or name == chosen)]
    return [
        Measure(stage, MEASURES.get(name, name), before[name], best[name], gain(name, best[name], before[name]), name == chosen)
        for name in names
    ]  # fmt: skip


def gain(name: str, ours: float, theirs: float) -> str:
    """A share of an error; of a log-likelihood, whose zero means nothing, the difference in nats; of RankIC as well."""
    if ours == theirs:
        return "equal"
    word = "better" if (ours > theirs) == higher_is_better(name) else "worse"
    if higher_is_better(name):
        return f"{number(abs(ours - theirs), 4)} {word}"
    if name.startswith("nll"):
        return f"{number(abs(ours - theirs), 4)} nats {word}"
    if theirs == 0:
        return "worse"
    share = abs(ours / theirs - 1)
    return "equal" if share < 0.0005 else f"{share:.0%} {word}" if share >= 0.095 else f"{share:.1%} {word}"


def _curve(stage: StageHistory, measure: str) -> tuple[str, Chart]:
    """The curve of a validation measure; training's line beside it where the log has it in the same unit."""
    trained = (
        "nll_horizon" if stage.settings.get("loss") == "horizon" else "nll"
    )  # over which bars training has its losses
    alike = {"mse": ("mse",), trained: ("ce_s1", "ce_s2")}.get(measure, ())
    found = [record for record in stage.train if alike and all(key in record for key in alike)]
    train = [(int(record["step"]), float(sum(record[key] for key in alike))) for record in found]
    validation = [(int(record["step"]), float(record[measure])) for record in stage.validation if measure in record]
    figure = charts.losses(train, validation, best_step=stage.outcome.get("best_step"))
    title = f"{stage.name.capitalize()}: {MEASURES.get(measure, measure)}"
    return measure, Chart(figure, f"Loss curves of the {stage.name}", title)
