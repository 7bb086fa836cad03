"""Shows how far an evaluation is: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chandler.printing import printable

_PLAIN_SECONDS = 10.0
"""Between two plain lines."""


class ProgressReporter:
    """Progress of one evaluation, on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line of its own."""
        self.console.print(printable(text, self.console.encoding), markup=False)

    @contextmanager
    def walking(self, name: str, total: int, done: int, unit: str = "windows") -> Iterator[Callable[[int], None]]:
        """What is yielded is called with the number of units that were just finished."""
        if self.console.is_terminal:
            text = TextColumn("{task.description}", markup=False)  # names may have brackets
            columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(printable(name, self.console.encoding), total=total, completed=done)
                yield lambda more: bar.advance(task, more)
            return
        begun = said = time.monotonic()
        begun_at = at = done

        def report(more: int) -> None:
            nonlocal said, at
            at += more
            now = time.monotonic()
            if now - said >= _PLAIN_SECONDS and at < total:
                said = now
                left = (now - begun) / (at - begun_at) * (total - at)
                self.note(f"{name}: {at:,} of {total:,} {unit}, about {left:,.0f} s left")

        yield report
