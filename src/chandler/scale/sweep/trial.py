"""One trial: a run like any other, that tells what its validations say and may be told to stop."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.console import Console

from chandler.errors import ChandlerError
from chandler.scale.sweep.book import State
from chandler.training import finetune
from chandler.training.engine import Interrupted
from chandler.training.logging import RunProgress, StageResult
from chandler.training.settings import Settings

Heard = Callable[[Mapping[str, Any]], str]
"""Takes a validation; says why the trial is to stop, "" where it goes on."""


class Stopped(Exception):
    """A trial is hopeless; the text says why."""


class Tell(RunProgress):
    """Bars of a trial, its warnings, and what is said of all trials once; validations go to `heard`."""

    def __init__(self, stage: str, heard: Heard, said: set[str], console: Console | None = None) -> None:
        super().__init__(console)
        self._judged, self._heard, self._said = stage, heard, said

    def note(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            super().note(text)

    def on_validation(self, record: dict[str, Any]) -> None:
        if record["stage"] == self._judged:
            reason = self._heard(record)
            if reason:
                raise Stopped(reason)

    def on_stage_end(self, stage: str, result: StageResult) -> None:
        self.close()


def run_trial(settings: Settings, tell: Tell) -> tuple[State, str]:
    """Train a trial, or what is left of it; what became of it, and why.

    Raises:
        Interrupted: by a signal; its state is saved.
    """
    try:
        finetune(settings, resume=True, progress=tell)
        return "finished", ""
    except Interrupted:
        raise
    except Stopped as stopped:
        return "stopped", str(stopped)
    except ChandlerError as error:
        return "failed", str(error)
    except Exception as error:  # too little memory for this batch size; whatever it is, the others go on
        return "failed", f"{type(error).__name__}: {error}"
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def train_tokenizer(settings: Mapping[str, Any]) -> None:
    """The run that trains the tokenizer of all trials, or what is left of it. ChandlerError as of `finetune`."""
    finetune(Settings.model_validate(settings), resume=True)
