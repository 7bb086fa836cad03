"""A sweep from its settings to its verdict: the tokenizer once, then the trials, in turn or many at once."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

from chandler.atomic import atomic_file
from chandler.engines import Engine, Local, RayEngine
from chandler.errors import ConfigError, DataError, TrainingError
from chandler.places import existing, require_apart
from chandler.progress import Progress
from chandler.scale.sweep.book import Book, describe
from chandler.scale.sweep.settings import Plan, SweepSettings, plan_sweep
from chandler.scale.sweep.trial import Tell, run_trial, train_tokenizer
from chandler.scale.sweep.verdict import sweep_table, sweep_verdict
from chandler.training.datasets import data_inputs
from chandler.training.logging import RunProgress
from chandler.training.settings import Settings


def sweep(settings: SweepSettings, *, engine: Engine | None = None, overwrite: bool = False) -> Path:
    """Run every trial, or what an earlier call left of them; write sweep.json and sweep.parquet; returns the folder.

    A trial that fails is written down and the others go on; the same call tries it again. Results of trials are functions of
    their settings, for any engine; with early stopping and many trials at once, which ones are stopped depends on their timing.

    Args:
        settings: see `SweepSettings`.
        engine: `Local()` runs trials in turn, `RayEngine()` many at once.
        overwrite: replace a sweep with other settings in that folder.

    Raises:
        ConfigError: settings that no run takes, trials that cannot be compared, a folder with another sweep.
        DataError, CheckpointError, TrainingError: of the tokenizer of all trials; or no trial could be trained.
        Interrupted: by SIGINT or SIGTERM, after the state was saved.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a sweep starts its trials itself, each in one process: run it without torchrun.")
    plan, shown = plan_sweep(settings), RunProgress()
    for one in plan.settings if plan.tokenizer is None else (*plan.settings, plan.tokenizer):
        require_apart(plan.folder, _inputs(one))
    book = Book.open(plan, overwrite=overwrite)
    if plan.told:
        shown.note(plan.told)
    engine = engine or Local()
    left = book.left()
    shown.note(_says(plan, len(left)))
    # One connection for both: Ray takes seconds to start.
    with engine.session() if left and isinstance(engine, RayEngine) else nullcontext():
        if left and plan.tokenizer is not None:
            list(engine.spread(train_tokenizer, [(plan.tokenizer.model_dump(mode="json"),)]))
        if left and isinstance(engine, RayEngine):
            from chandler.scale.sweep.tune import run_tune

            run_tune(book, engine, shown.note)
        else:
            _in_turn(book, shown)
    if all(one.state == "failed" for one in book.trials):
        raise TrainingError(f"no trial could be trained. {book.trials[0].name}: {book.trials[0].message}")
    book.save(verdict=asdict(sweep_verdict(book.trials, plan.measure, plan.incomparable)))
    with atomic_file(plan.folder / "sweep.parquet") as scratch:
        sweep_table(book.trials).to_parquet(scratch, index=False)
    return Path(settings.out)


def _in_turn(book: Book, shown: Progress) -> None:
    """One trial after another, in this process."""
    said: set[str] = set()
    for trial in book.left():
        number = trial.number
        book.set(number, "training")
        tell = Tell(book.plan.stage, lambda record, number=number: book.heard(number, record), said)  # type: ignore[misc]
        book.set(number, *run_trial(book.plan.settings[number], tell))
        shown.note(describe(book.trials[number], book.plan.measure))


def _says(plan: Plan, left: int) -> str:
    number = len(plan.settings)
    done = f", {number - left} of them done" if left < number else ""
    tokenizer = (
        "" if plan.tokenizer is None else f"; the tokenizer of all is trained once, in {plan.folder.name}/tokenizer"
    )
    return f"{number} trials{done}, judged by validation {plan.measure} of the {plan.stage}{tokenizer}"


def _inputs(settings: Settings) -> dict[str, list[Path]]:
    """What a run reads, but the tokenizer that the sweep trains; no data where they are not there, which the run will say."""
    starts = {f"{name}.start": existing([stage.start]) for name, stage in settings.stages() if stage.enabled}
    with suppress(DataError):
        return data_inputs(settings) | starts
    return starts
