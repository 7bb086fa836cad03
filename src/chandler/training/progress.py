"""Shows a run to a person: bars with losses and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from chandler.printing import printable

_PLAIN_SECONDS = 10.0
"""Between two plain lines of training progress."""


class Progress:
    """Progress of the stages of one run; on ranks other than 0 it is never called."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._bars: RichProgress | None = None
        self._stage, self._steps, self._epochs, self._done = "", 0, 0, 0
        self._begun = self._said = 0.0

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(printable(text, self.console.encoding), markup=False)

    def begin(self, stage: str, *, epochs: int, steps: int, windows: int, done: int | None) -> None:
        self._stage, self._steps, self._epochs, self._done = stage, steps, epochs, done or 0
        self._begun = self._said = time.monotonic()
        resumed = f"; going on after step {done:,}" if done is not None else ""
        self.note(f"{stage}: {epochs} epochs, {steps:,} steps, {windows:,} windows an epoch{resumed}")
        if self.console.is_terminal:
            self._bars = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[losses]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
            self._task = self._bars.add_task(f"{stage} training", total=steps, completed=self._done, losses="")
            self._check = self._bars.add_task(f"{stage} validation", total=None, losses="", visible=False)

    def train(self, record: dict[str, Any]) -> None:
        losses = f"loss {record['loss']:.4f}  {record['windows_per_second']:,.0f} windows/s"
        if self._bars is not None:
            self._bars.update(self._task, completed=record["step"], losses=losses)
        elif time.monotonic() - self._said >= _PLAIN_SECONDS:
            self._said = time.monotonic()
            left = (self._said - self._begun) / max(record["step"] - self._done, 1) * (self._steps - record["step"])
            self.note(
                f"{self._stage}: epoch {record['epoch']}/{self._epochs}, step {record['step']:,}/{self._steps:,}, "
                f"{losses}, {duration(left)} left"
            )

    def validating(self, done: int, total: int) -> None:
        if self._bars is not None:
            self._bars.update(self._check, completed=done, total=total, visible=done < total)

    def validation(self, record: dict[str, Any]) -> None:
        skip = ("stage", "kind", "step", "epoch", "best")
        scores = ", ".join(f"{name} {value:.5g}" for name, value in record.items() if name not in skip)
        mark = " (start)" if record["step"] == 0 else " (best so far)" if record["best"] else ""
        self.note(f"{self._stage}: validation at step {record['step']:,}: {scores}{mark}")

    def end(self, stage: str, message: str) -> None:
        self.close()
        self.note(f"{message} {duration(time.monotonic() - self._begun)}.")

    def close(self) -> None:
        """Take the bars off the terminal."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s"; 7500 -> "2 h 5 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
