"""Shows a run to a person: bars with losses and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from chandler.progress import Counter, Progress, plain_console
from chandler.text import duration
from chandler.training.logging.callbacks import Callback, StagePlan, StageResult, verdict


class RunProgress(Progress, Callback):
    """Progress of the stages of one run, on stdout."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console or plain_console(soft_wrap=True))
        self._stage, self._epochs, self._begun = "", 0, 0.0
        self._training: Counter | None = None
        self._validation: Counter | None = None

    def on_stage_begin(self, plan: StagePlan) -> None:
        self._stage, self._epochs, self._begun = plan.stage, plan.epochs, time.monotonic()
        resumed = f"; going on after step {plan.done:,}" if plan.done is not None else ""
        self.note(
            f"{plan.stage}: {plan.epochs} epochs, {plan.steps:,} steps, {plan.windows:,} windows an epoch{resumed}"
        )
        self._training = self.start(f"{plan.stage} training", plan.steps, plan.done or 0, "steps")

    def on_step(self, record: dict[str, Any]) -> None:
        assert self._training is not None
        losses = f"loss {record['loss']:.4f}  {record['windows_per_second']:,.0f} windows/s"
        at = f"epoch {record['epoch']}/{self._epochs}, step {record['step']:,}/{self._training.total:,}"
        self._training.update(
            record["step"],
            detail=losses,
            line=lambda left: f"{record['stage']}: {at}, {losses}, {duration(left)} left",
        )

    def on_validating(self, done: int, total: int) -> None:
        if self._validation is None:
            self._validation = self.start(f"{self._stage} validation", total)
        self._validation.update(done)
        if done >= total:
            self._validation.end()
            self._validation = None

    def on_validation(self, record: dict[str, Any]) -> None:
        skip = ("stage", "kind", "step", "epoch", "best")
        scores = ", ".join(f"{name} {value:.5g}" for name, value in record.items() if name not in skip)
        mark = " (start)" if record["step"] == 0 else " (best so far)" if record["best"] else ""
        self.note(f"{record['stage']}: validation at step {record['step']:,}: {scores}{mark}")

    def on_warning(self, text: str) -> None:
        self.note(f"warning: {text}")

    def on_stage_end(self, stage: str, result: StageResult) -> None:
        self.close()
        self.note(f"{verdict(stage, result)} {duration(time.monotonic() - self._begun)}.")

    def close(self) -> None:
        super().close()
        self._training = self._validation = None
