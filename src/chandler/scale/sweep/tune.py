"""Trials many at once: Ray Tune runs them, the book decides which are stopped.

Workers tell validations and nothing else: what a trial is lies in its run folder, so a driver that was killed goes on from there, and
Tune's own folder (OUT/ray) can go. Tune is never asked to restore anything from it, which would unpickle files.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from chandler.engines import RayEngine, prepare_worker
from chandler.errors import ConfigError
from chandler.measures import higher_is_better
from chandler.scale.sweep.book import Book, describe
from chandler.scale.sweep.trial import Tell, run_trial
from chandler.training.settings import Settings

FAILURES = 3
"""Times that a trial goes on whose process or node was lost."""


def run_tune(book: Book, engine: RayEngine, told: Callable[[str], None]) -> None:
    """Run the trials that are left on the workers of an engine; `told` hears of each that is over.

    Raises:
        ConfigError: as of `RayEngine`.
    """
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    class Judge(FIFOScheduler):  # type: ignore[misc]
        """Passes what trials tell to the book, in the driver."""

        def __reduce__(self) -> Any:
            # Tune keeps a pickle of what it was asked, to restore it from: nobody does.
            return FIFOScheduler, ()

        def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
            number = result["trial"]
            if result["state"] != "training":
                over(number, result["state"], result["message"])
                return str(TrialScheduler.CONTINUE)
            if book.trials[number].state != "training":
                book.set(number, "training")
            record = json.loads(result["record"])
            reason = book.heard(number, record) if record else ""
            if not reason:
                return str(TrialScheduler.CONTINUE)
            over(number, "stopped", reason)
            return str(TrialScheduler.STOP)

    def over(number: int, state: Any, message: str) -> None:
        book.set(number, state, message)
        told(describe(book.trials[number], book.plan.measure))

    place = book.plan.folder / "ray"
    numbers = [one.number for one in book.left()]
    common = {
        "stage": book.plan.stage,
        "setup": engine.setup(),
        "settings": [one.model_dump(mode="json") for one in book.plan.settings],
    }
    # Tune would print a stack for each process that is lost, and take Ctrl-C for the end of a sweep.
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_SIGINT_HANDLER": "1"}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with engine.session() as ray:
        room = engine.room(ray)
        booked = tune.with_resources(
            tune.with_parameters(_trial, common=common), {"cpu": engine.cpus, "gpu": engine.gpus}
        )
        try:
            tune.Tuner(
                booked,
                param_space={"trial": tune.grid_search(numbers)},
                tune_config=tune.TuneConfig(
                    metric="score",
                    mode="max" if higher_is_better(book.plan.measure) else "min",
                    max_concurrent_trials=engine.workers or room,
                    reuse_actors=False,
                    scheduler=Judge(),
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=str(place),
                    failure_config=tune.FailureConfig(max_failures=FAILURES),
                    verbose=0,
                ),
            ).fit()
        finally:
            shutil.rmtree(place, ignore_errors=True)
    for number in numbers:
        if book.trials[number].state in ("waiting", "training"):
            over(number, "failed", f"its process was lost {FAILURES + 1} times")


def _trial(config: Mapping[str, Any], common: Any) -> None:
    """In a worker of Tune."""
    from ray import tune

    number = int(config["trial"])
    settings = Settings.model_validate(common["settings"][number])

    def tell(record: Mapping[str, Any], state: str = "training", message: str = "") -> str:
        # Where the trial is stopped, this call does not come back: Tune ends the process.
        tune.report({"score": 0.0, "trial": number, "state": state, "message": message, "record": json.dumps(record)})
        return ""

    try:
        prepare_worker(common["setup"])
    except ConfigError as error:
        tell({}, "failed", str(error))
        return
    tell({})
    state, message = run_trial(settings, Tell(common["stage"], tell, set(), Console(file=io.StringIO())))
    tell({}, state, message)
