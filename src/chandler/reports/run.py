"""The page of a training run: what each stage gained, with the losses told as plainly as the wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chandler.reports import charts
from chandler.reports.render import Cell, Chart, Pairs, Row, Table, day, write, written_with
from chandler.training.runs.history import RunHistory, StageHistory, flat, short

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


@dataclass(frozen=True)
class StageVerdict:
    """How a stage went. `case`: improved, kept_start, off, unfinished, or unrecorded (kept from an earlier run)."""

    name: str
    case: str
    ran: bool
    start: str
    """The weights it began with; empty if they are not on record."""
    reused: bool = False
    measure: str = ""
    before: str = ""
    best: str = ""
    best_step: int = 0
    higher: bool = False
    random_start: bool = False
    warning: str = ""


@dataclass(frozen=True)
class Curve:
    """Losses of a stage by a validation measure; `kind` is the measure's name."""

    chart: Chart
    kind: str


@dataclass(frozen=True)
class RunPage:
    """What the page says."""

    name: str
    began: str
    took: str
    stages: Sequence[StageVerdict]
    improved: Sequence[str]
    kept: Sequence[str]
    """Names of the stages that ran and beat their start, and of those that did not."""
    measures: Table
    curves: Sequence[Curve]
    ran: Pairs
    settings: Pairs
    pretrained: bool
    """Whether a stage that ran began with weights that know data of their own."""


def write_run_report(run_folder: str | Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    Args:
        run_folder: what `finetune` wrote. Stages may be missing, off, kept from an earlier run, or unfinished.

    Returns:
        The path of the page.

    Raises:
        ConfigError: no run folder, or a file in it that cannot be read.
    """
    log = RunHistory.read(run_folder)
    return write("run", run_page(log), log.folder)


def run_page(log: RunHistory) -> RunPage:
    """What the page will say."""
    ran = [stage for stage in log.stages if stage.ran]
    head = ["Validation measure", "Step 0", "Best", "Best vs step 0", "At step", "Of steps", "Time"]
    curves = []
    for stage in log.stages:
        if stage.validation:
            loss = "mse" if "mse" in stage.validation[0] else "nll"
            curves += [_curve(stage, kind) for kind in dict.fromkeys((loss, stage.outcome.get("measure", loss)))]
    return RunPage(
        name=log.folder.resolve().name,
        began=f"{datetime.fromtimestamp(log.began, UTC):%d %B %Y}" if log.began else "",
        took=duration(log.seconds),
        stages=[_verdict(stage) for stage in log.stages],
        improved=[stage.name for stage in ran if stage.status == "improved"],
        kept=[stage.name for stage in ran if stage.status != "improved"],
        measures=Table(head, [row for stage in log.stages if stage.known for row in _rows(stage)]),
        curves=curves,
        ran=_what_ran(log),
        settings=flat(log.config),
        pretrained=any(not stage.random_start for stage in ran),
    )


def _verdict(stage: StageHistory) -> StageVerdict:
    done = stage.outcome
    case = "unrecorded" if stage.status == "unknown" else stage.status
    start = short(done.get("start", stage.settings.get("start", "its start"))) if done.get("start") else ""
    if not stage.known:
        return StageVerdict(stage.name, case, stage.ran, start)
    measure = done["measure"]
    return StageVerdict(
        stage.name, case, stage.ran, start, bool(done.get("reused")), MEASURES.get(measure, measure),
        digits(float(done["start_score"])), digits(float(done["best"])), int(done["best_step"]),
        measure in HIGHER_IS_BETTER, stage.random_start, str(done.get("warning") or ""),
    )  # fmt: skip


def _rows(stage: StageHistory) -> list[Row]:
    """Step 0 against the best checkpoint, all validation measures; the one that chose it first and in full."""
    best_step, chosen = int(stage.outcome["best_step"]), stage.outcome["measure"]
    before, best = stage.at(0), stage.at(best_step)
    rows: list[Row] = []
    for name in (key for key in before if key in best and (key in MEASURES or key == chosen)):
        gain, label = _gain(name, best[name], before[name]), MEASURES.get(name, name)
        cells: list[str | Cell] = [
            digits(before[name]),
            digits(best[name]),
            Cell(gain, f"mark {gain.rsplit(' ', 1)[-1]}"),
        ]
        if name == chosen:
            steps = [f"{best_step:,}", f"{stage.outcome['steps']:,}", duration(stage.outcome["seconds"])]
            rows.append((f"{stage.name.capitalize()}: {label}", [*cells, *steps]))
        else:
            rows.append((f"\u2003{label}", [*cells, "", "", ""]))
    return rows


def _gain(name: str, ours: float, theirs: float) -> str:
    """A share of an error; of a log-likelihood, whose zero means nothing, the difference in nats; of RankIC as well."""
    if ours == theirs:
        return "equal"
    better = ours > theirs if name in HIGHER_IS_BETTER else ours < theirs
    word = "better" if better else "worse"
    if name in HIGHER_IS_BETTER:
        return f"{digits(abs(ours - theirs))} {word}"
    if name.startswith("nll"):
        return f"{digits(abs(ours - theirs))} nats {word}"
    if theirs == 0:
        return "worse"
    share = abs(ours / theirs - 1)
    return "equal" if share < 0.0005 else f"{share:.0%} {word}" if share >= 0.095 else f"{share:.1%} {word}"


def _curve(stage: StageHistory, measure: str) -> Curve:
    """The curve of a validation measure; training's line beside it where the log has it in the same unit."""
    alike = {"mse": ("mse",), "nll": ("ce_s1", "ce_s2")}.get(measure, ())
    found = [record for record in stage.train if alike and all(key in record for key in alike)]
    train = [(int(record["step"]), float(sum(record[key] for key in alike))) for record in found]
    validation = [(int(record["step"]), float(record[measure])) for record in stage.validation if measure in record]
    figure = charts.losses(train, validation, best_step=stage.outcome.get("best_step"))
    title = f"{stage.name.capitalize()}: {MEASURES.get(measure, measure)}"
    return Curve(Chart(figure, f"Loss curves of the {stage.name}", title), measure)


def _what_ran(log: RunHistory) -> Pairs:
    data, settings = log.summary.get("data", {}), log.config.get("data") or {}
    pairs: list[tuple[str, str]] = []
    if data:
        pairs.append(("Data", f"{data['symbols']:,} symbols, {data['rows']:,} bars"))
        for name, label in (("train", "Training"), ("val", "Validation")):
            part = data["splits"].get(name)
            if part:
                span = f"{day(part['first'])} to {day(part['last'])}"
                pairs.append((label, f"{span}: {part['rows']:,} bars, {part['windows']:,} windows"))
    if settings:
        pairs.append(("Window", f"{settings.get('lookback')} bars of lookback, {settings.get('horizon')} of horizon"))
    for stage in log.stages:
        pairs.append((stage.name.capitalize(), _architecture(stage)))
        if stage.ran:
            pairs.append((f"{stage.name.capitalize()} training", _effort(stage)))
    made = f"trained with chandler {log.summary.get('chandler', '?')}; {written_with()}"
    return [*pairs, ("Seed", str(log.config.get("seed", ""))), ("Versions", made)]


def _architecture(stage: StageHistory) -> str:
    model, count = stage.model, stage.outcome.get("parameters")
    origin = "random weights" if stage.random_start else short(stage.settings.get("start", "?"))
    if not model:
        return f"from {origin}; no result"
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


def digits(value: float) -> str:
    """Four significant digits: 4.880, 0.05375, 1,234."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s"; 7500 -> "2 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
