"""OUT/sweep.json: what is asked of a sweep and what became of each trial. One process writes it, whole each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from chandler.errors import ConfigError
from chandler.measures import is_better
from chandler.places import Layout
from chandler.scale.sweep.halving import behind, rungs
from chandler.scale.sweep.settings import TOKENIZER, Plan
from chandler.training.runs import RUN, RunHistory, changed_keys, read_mapping, write_json
from chandler.training.settings import Settings
from chandler.version import __version__

BOOK = "sweep.json"
State = Literal["waiting", "training", "stopped", "failed", "finished"]
SWEEP = Layout(
    "a sweep",
    (
        BOOK, "sweep.parquet", "report.html", "ray/**",
        *(f"{folder}/{name}" for folder in ("[0-9][0-9][0-9]", TOKENIZER) for name in RUN.files),
    ),
    {BOOK: "trials"},
)  # fmt: skip
"""What the folder of a sweep holds; --overwrite removes these and nothing else."""


@dataclass(frozen=True)
class Trial:
    """One run of a sweep, as far as it is."""

    number: int
    parameters: Mapping[str, Any]
    state: State = "waiting"
    start: float | None = None
    """Score of the starting weights, at step 0."""
    best: float | None = None
    best_step: int | None = None
    """0 while no checkpoint has beaten the starting weights."""
    epochs: int = 0
    """Begun."""
    rungs: Mapping[str, float] = field(default_factory=dict)
    """Epochs -> score there, where trials are held against one another."""
    message: str = ""
    """Why it was stopped, or has failed."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.number:03d}"

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in ("stopped", "finished")


class Book:
    """The trials of a plan; every change is on disk when a method returns."""

    def __init__(self, plan: Plan, trials: list[Trial]) -> None:
        self.plan, self.trials = plan, trials
        self._rungs = rungs(max(map(self._epochs, range(len(trials))))) if plan.early_stop else ()

    @classmethod
    def open(cls, plan: Plan, *, overwrite: bool) -> Book:
        """The book of the folder brought up to date, or a new one.

        Raises:
            ConfigError: another sweep is there, or what is no sweep.
        """
        folder = plan.folder
        if overwrite:
            SWEEP.require_own(folder)
            SWEEP.clear(folder)
        SWEEP.require(folder)
        trials = [Trial(number, parameters) for number, parameters in enumerate(plan.parameters)]
        found = read_mapping(folder / BOOK, strict=True)
        if found:
            _require_same(folder, plan, found)
            trials = [Trial(**one) for one in found["trials"]]
        book = cls(plan, trials)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            book.save()
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot write there ({error.strerror}). Choose another folder (out=)."
            ) from error
        for trial in trials:
            book._catch_up(trial)
        return book

    def left(self) -> list[Trial]:
        """Trials with something left to do; those that failed are tried again."""
        return [one for one in self.trials if not one.over]

    def set(self, number: int, state: State, message: str = "") -> None:
        """What has become of a trial."""
        if (self.trials[number].state, self.trials[number].message) != (state, message):
            self._change(number, state=state, message=message)

    def heard(self, number: int, record: Mapping[str, Any]) -> str:
        """Take in a validation of a trial (step 0 begins anew); why it is to stop, "" where it goes on."""
        trial, measure = self.trials[number], self.plan.measure
        score, step, epoch = float(record[measure]), int(record["step"]), int(record["epoch"])
        first = step == 0 or trial.best is None
        better = first or is_better(measure, score, trial.best or 0.0)
        changes: dict[str, Any] = {"epochs": max(epoch, trial.epochs)}
        changes |= {"start": score} if first else {}
        changes |= {"best": score, "best_step": step} if better else {}
        # As far as it is; of validations that are rarer than epochs, the first one after.
        rung, epochs = max((one for one in self._rungs if one <= epoch), default=None), self._epochs(number)
        reason = ""
        if rung is not None and str(rung) not in trial.rungs and epoch < epochs:
            others = [one.rungs[str(rung)] for one in self.trials if one is not trial and str(rung) in one.rungs]
            changes["rungs"] = {**trial.rungs, str(rung): score}
            ahead = behind(measure, score, others)
            if ahead is not None:
                told = f"its {measure} of {score:.5g} was behind {ahead} of {len(others)} others"
                reason = f"after {rung} of {epochs} epochs {told}"
        self._change(number, **changes)
        return reason

    def _epochs(self, number: int) -> int:
        return int(dict(self.plan.settings[number].stages())[self.plan.stage].epochs)

    def _change(self, number: int, **changes: Any) -> None:
        self.trials[number] = replace(self.trials[number], **changes)
        self.save()

    def _catch_up(self, trial: Trial) -> None:
        """What a trial has told while nobody wrote."""
        folder = self.plan.folder / trial.name
        if trial.over or not (folder / "config.yaml").is_file():
            return
        history = next(one for one in RunHistory.read(folder).stages if one.name == self.plan.stage)
        reasons = [self.heard(trial.number, record) for record in history.validation]
        if any(reasons) and not history.known:
            self.set(trial.number, "stopped", next(filter(None, reasons)))
        elif trial.state == "failed":
            self.set(trial.number, "waiting")

    def save(self, **more: Any) -> None:
        """Write it, with `more` beside the trials."""
        plan = self.plan
        write_json(
            plan.folder / BOOK,
            {
                "chandler": __version__,
                "stage": plan.stage,
                "measure": plan.measure,
                "incomparable": plan.incomparable,
                "early_stop": plan.early_stop,
                "shared_tokenizer": plan.tokenizer is not None,
                "settings": plan.settings[0].model_dump(mode="json"),
                "trials": [asdict(one) for one in self.trials],
                **more,
            },
        )


def describe(trial: Trial, measure: str) -> str:
    """One line of a trial that is over."""
    scores = "" if trial.start is None else f": {measure} {trial.start:.5g} -> {trial.best:.5g}"
    why = f" ({trial.message})" if trial.message else ""
    given = ", ".join(f"{key}={value}" for key, value in trial.parameters.items())
    return f"{trial.name} {trial.state}{scores}{why}; {given}"


def _require_same(folder: Path, plan: Plan, found: Mapping[str, Any]) -> None:
    """ConfigError where the folder holds a sweep of other trials."""
    changed = changed_keys(Settings.model_validate(found["settings"]), plan.settings[0])
    before, now = (
        [dict(row) for row in rows] for rows in ((one["parameters"] for one in found["trials"]), plan.parameters)
    )
    if len(before) != len(now):
        changed.append(f"{len(before)} -> {len(now)} trials")
    elif before != now:
        changed.append(f"parameters {next(a for a, b in zip(before, now, strict=True) if a != b)} -> others")
    if found["early_stop"] != plan.early_stop:
        changed.append(f"early stopping {'on -> off' if found['early_stop'] else 'off -> on'}")
    if changed:
        raise ConfigError(
            f"{folder} holds a sweep with other settings: {'; '.join(changed)}. Undo the changes, choose another folder (out=), "
            "or replace it with overwrite=True."
        )
