"""Writes down what a stage measures: in metrics.jsonl, and to experiment trackers where they are named.

Trackers come through accelerate, their keys from the environment. One that fails while a run goes on is dropped with a
warning: it never costs a run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandler.atomic import write_text
from chandler.errors import ConfigError
from chandler.training.logging.callbacks import Callback, StagePlan
from chandler.training.runs import TRACKERS, read_records, writing
from chandler.training.settings import TrackerName

if TYPE_CHECKING:
    from accelerate import Accelerator

_MODULES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}
_KEYS = {
    "wandb": ("WANDB_API_KEY", "WANDB_MODE", "WANDB_MODE=offline keeps everything on this machine"),
    "comet": ("COMET_API_KEY", "COMET_START_ONLINE", "COMET_START_ONLINE=0 keeps everything on this machine"),
}
"""Tracker -> variable of its key, variable that does without one, and how."""


class MetricsLogger(Callback):
    """Writes metrics.jsonl of a run folder, a line for each record.

    Raises:
        TrainingError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_stage_begin(self, plan: StagePlan) -> None:
        """Say how much there is to do, and drop records of steps that the stage is going to take again: they were written
        after the state it has."""
        # A state of step 0 comes after the validation of the start, whose record stays.
        last = -1 if plan.done is None else plan.done
        kept = [one for one in read_records(self.folder) if one["stage"] != plan.stage or one["step"] <= last]
        begin = {"stage": plan.stage, "kind": "begin", "step": plan.done or 0, "epoch": 0, "steps": plan.steps}
        begin |= {"epochs": plan.epochs, "windows": plan.windows, "time": round(time.time(), 3)}
        path = self.folder / "metrics.jsonl"
        with writing(path):
            write_text(path, "".join(json.dumps(record) + "\n" for record in [*kept, begin]))

    def on_step(self, record: dict[str, Any]) -> None:
        """Add a line. A disk that fills up may leave half of it, which counts as none and goes as the stage goes on."""
        path = self.folder / "metrics.jsonl"
        with writing(path), path.open("a") as handle:
            handle.write(json.dumps({**record, "time": round(time.time(), 3)}) + "\n")

    on_validation = on_step


def require_trackers(names: Sequence[TrackerName]) -> None:
    """Raise ConfigError, naming the remedy, unless every tracker is installed and has its key."""
    for name in names:
        if importlib.util.find_spec(_MODULES[name]) is None:
            raise ConfigError(
                f"trackers: {name} is not installed. Run pip install {_MODULES[name]}, or leave it out of trackers; "
                "metrics.jsonl is written in any case."
            )
        key, instead, how = _KEYS.get(name, ("", "", ""))
        if key and not (os.environ.get(key) or os.environ.get(instead)):
            raise ConfigError(f"trackers: {name} needs its key in the environment variable {key}; {how}.")


class Tracking(Callback):
    """Passes records to the trackers of an accelerator; without any, to nobody."""

    def __init__(self, accelerator: Accelerator, settings: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        self._trackers: list[Any] = []
        self._warn = warn
        self._steps_before = 0
        if not accelerator.log_with:
            return
        plain = {key: v if isinstance(v, int | float | str) else str(v) for key, v in settings.items()}
        try:
            accelerator.init_trackers(TRACKERS, config=plain)
        except Exception as error:  # each tracker has errors of its own
            raise ConfigError(f"trackers: {accelerator.log_with[0]} or another could not start: {error}") from error
        self._trackers = list(accelerator.trackers)

    def on_step(self, record: dict[str, Any]) -> None:
        """Numbers of a record as "stage/kind/name". Steps count on over both stages."""
        prefix = f"{record['stage']}/{record['kind']}"
        values = {
            f"{prefix}/{name}": float(value)
            for name, value in record.items()
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
        }
        step = self._steps_before + int(record["step"])
        self._each(lambda tracker: tracker.log(values, step=step))

    on_validation = on_step

    def stage_over(self, steps: int) -> None:
        """The next stage's steps are counted on from here: some trackers take rising steps only."""
        self._steps_before += steps

    def close(self) -> None:
        """Let the trackers finish what they have."""
        self._each(lambda tracker: tracker.finish())
        self._trackers = []

    def _each(self, act: Callable[[Any], None]) -> None:
        for tracker in list(self._trackers):
            try:
                act(tracker)
            except Exception as error:  # each tracker has errors of its own
                self._trackers.remove(tracker)
                self._warn(f"tracker {tracker.name} failed and is left out from here: {error}")
