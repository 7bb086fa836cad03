"""Listens to the loop: writes metrics.jsonl, passes records to trackers, shows progress, says how a stage went."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from chandler.atomic import write_text
from chandler.measures import gain
from chandler.training.logging.callbacks import StageResult
from chandler.training.logging.console import RunProgress
from chandler.training.logging.trackers import Tracking


class MetricsLogger:
    """Listens to the loop: writes metrics into the folder, passes them to trackers, shows progress."""

    def __init__(self, folder: Path, progress: RunProgress) -> None:
        self.folder, self.progress = folder, progress
        self.tracking: Tracking | None = None

    def _append(self, record: dict[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a") as handle:
            handle.write(json.dumps({**record, "time": round(time.time(), 3)}) + "\n")
        if self.tracking is not None:
            self.tracking.log(record)

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int, done: int | None) -> None:
        # A state of step 0 comes after the validation of the start, whose record stays.
        self._forget_after(stage, -1 if done is None else done)
        self.progress.begin(stage, epochs=epochs, steps=steps, windows=windows, done=done)

    def _forget_after(self, stage: str, step: int) -> None:
        """Drop records of steps that a resumed stage is going to take again; they were written after its state."""
        path = self.folder / "metrics.jsonl"
        if path.is_file():
            kept = []
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue  # half a line, written as the process died
                if record["stage"] != stage or record["step"] <= step:
                    kept.append(line + "\n")
            write_text(path, "".join(kept))

    def train(self, record: dict[str, Any]) -> None:
        self._append(record)
        self.progress.train(record)

    def validating(self, done: int, total: int) -> None:
        self.progress.validating(done, total)

    def validation(self, record: dict[str, Any]) -> None:
        self._append(record)
        self.progress.validation(record)

    def warn(self, text: str) -> None:
        self.progress.note(f"warning: {text}")

    def end(self, stage: str, result: StageResult) -> None:
        self.progress.end(stage, verdict(stage, result))


def verdict(stage: str, result: StageResult) -> str:
    """One plain sentence: did training beat the starting weights?"""
    if result.improved:
        text = (
            f"{stage}: validation {result.measure} {result.start:.5g} at step 0, {result.best:.5g} at its best "
            f"(step {result.best_step}), {gain(result.measure, result.start, result.best)}"
        )
    else:
        text = (
            f"{stage}: no checkpoint beat the starting weights (validation {result.measure} {result.start:.5g}); "
            "the starting weights are kept"
        )
    text += " (stopped early: patience)" if result.stopped_early else ""
    if result.measure in ("crps", "rank_ic"):
        text += f"; chosen by {result.measure} of real forecasts"
        if result.improved:
            text += f", at which nll went {result.at_start['nll']:.5g} -> {result.at_best['nll']:.5g}"
    if result.skipped:
        text += f"; {result.skipped} step{'s' if result.skipped > 1 else ''} left out, not finite"
    if result.replay_start is not None and result.replay_best is not None:
        loss = result.replay_best - result.replay_start
        text += f"; on the replayed bars {result.replay_start:.5g} -> {result.replay_best:.5g}"
        text += f", {loss:.3g} forgotten" if loss > 0 else ", nothing forgotten"
    return text + "."
